/*
 * secret_file.h - who else may read or write a file that holds a secret: a password, a private key,
 * users.
 *
 * Nobody else may write it. Nobody else may read it either, unless it lies where a supervisor puts
 * secrets, in directories that only the service sees: $CREDENTIALS_DIRECTORY (systemd; /run/credentials
 * for root, who asks with --ping outside the service) and /run/secrets (containers), whose files often
 * have the mode 0440 or 0444.
 */
#ifndef IDEM_SERVER_OPS_SECRET_FILE_H
#define IDEM_SERVER_OPS_SECRET_FILE_H

#include <stdbool.h>
#include <sys/stat.h>

#include "server/ops/refusal.h"

struct secret_file {
  const char *path;        /* as the user wrote it */
  const struct stat *stat; /* of the open file: that one is checked which is read */
  const char *what;        /* is in it, with its article: "a password" */
  bool anybody_reads;      /* the operator allows it */
};

/* False with the reason, which says how to mend it. */
bool secret_file_check(const struct secret_file *file, char error[REFUSAL_BYTES]);

#endif
