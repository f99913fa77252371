/* secret_file.c - see secret_file.h. */
#include "server/ops/secret_file.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define OTHERS_WRITE (S_IWGRP | S_IWOTH)

/* Whether the real path, without links, lies below the directory. */
static bool is_below(const char *real, const char *directory) {
  char real_directory[PATH_MAX];
  if (directory == NULL || directory[0] != '/') return false;
  if (realpath(directory, real_directory) == NULL) return false;
  size_t len = strlen(real_directory);
  return len > 1 && strncmp(real, real_directory, len) == 0 && real[len] == '/';
}

static bool is_with_secrets(const char *path) {
  char real[PATH_MAX];
  if (realpath(path, real) == NULL) return false;
  return is_below(real, getenv("CREDENTIALS_DIRECTORY")) || is_below(real, "/run/credentials") ||
         is_below(real, "/run/secrets");
}

bool secret_file_check(const struct secret_file *file, char error[REFUSAL_BYTES]) {
  char shown[REFUSAL_SHOWN_BYTES];
  mode_t others = file->stat->st_mode & (S_IRWXG | S_IRWXO);
  refusal_show(span_of(file->path), shown);
  if ((others & OTHERS_WRITE) != 0 ||
      (others != 0 && !file->anybody_reads && !is_with_secrets(file->path))) {
    return refusal_write(error, "%s needs a file that no other user can %swrite: chmod %s %s",
                         file->what, file->anybody_reads ? "" : "read or ",
                         file->anybody_reads ? "go-w" : "600", shown);
  }
  if (file->stat->st_uid != geteuid() && file->stat->st_uid != 0) {
    return refusal_write(
        error, "%s needs a file that belongs to the user of the server or to root: %s does not",
        file->what, shown);
  }
  return true;
}
