/*
 * certificates.h - authorities and certificates for a test, made in a directory of its own.
 *
 * Each file is PEM; those of a certificate have its key too.
 */
#ifndef IDEM_TESTS_CLIENT_CERTIFICATES_H
#define IDEM_TESTS_CLIENT_CERTIFICATES_H

#define CERTIFICATES_PATH 128

struct certificates {
  char dir[CERTIFICATES_PATH];
  char ca[CERTIFICATES_PATH], other_ca[CERTIFICATES_PATH];
  /* Of servers, by the first authority. server: for localhost and 127.0.0.1; named: for
   * other.example alone; local: for localhost alone */
  char server[CERTIFICATES_PATH], expired[CERTIFICATES_PATH], named[CERTIFICATES_PATH];
  char local[CERTIFICATES_PATH];
  /* Of clients: by the first authority, and by the other one */
  char client[CERTIFICATES_PATH], stranger[CERTIFICATES_PATH];
};

void certificates_make(struct certificates *certificates);
void certificates_remove(const struct certificates *certificates);
/* Puts the contents of one file in the place of another, as a renewal does: by a rename. */
void certificates_replace(const char *path, const char *by);

#endif
