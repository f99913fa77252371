/* file_replace.c - see file_replace.h. */
#include "server/ops/file_replace.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

bool file_replace_begin(struct file_replace *replace, const char *path, char error[REFUSAL_BYTES]) {
  *replace = (struct file_replace){.path = path, .beside = malloc(strlen(path) + sizeof ".XXXXXX")};
  if (replace->beside == NULL) return refusal_write(error, "no memory to write a new file");
  sprintf(replace->beside, "%s.XXXXXX", path);
  int fd = mkostemp(replace->beside, O_CLOEXEC);
  if (fd >= 0) replace->out = fdopen(fd, "w");
  if (replace->out != NULL) return true;
  refusal_write_errno("write a new file beside", path, error);
  if (fd >= 0) {
    close(fd);
    unlink(replace->beside);
  }
  free(replace->beside);
  return false;
}

/* Owner before mode: chown clears bits of the mode. */
static bool finish(FILE *out, const struct stat *stat) {
  int fd = fileno(out);
  return fflush(out) == 0 && !ferror(out) && fchown(fd, stat->st_uid, stat->st_gid) == 0 &&
         fchmod(fd, stat->st_mode & 07777) == 0 && fsync(fd) == 0;
}

/* The rename is durable when the directory is. */
static bool sync_directory(const char *path, char error[REFUSAL_BYTES]) {
  const char *slash = strrchr(path, '/');
  size_t len = slash == NULL || slash == path ? 1 : (size_t)(slash - path);
  char *directory = strndup(slash == NULL ? "." : path, len);
  if (directory == NULL) return refusal_write(error, "no memory to sync a directory");
  int fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  bool done = fd >= 0 && fsync(fd) == 0;
  if (!done) refusal_write_errno("sync", directory, error);
  if (fd >= 0) close(fd);
  free(directory);
  return done;
}

bool file_replace_end(struct file_replace *replace, const struct stat *stat,
                      char error[REFUSAL_BYTES]) {
  bool done = finish(replace->out, stat);
  if (!done) refusal_write_errno("write a new", replace->path, error);
  if (fclose(replace->out) != 0 && done)
    done = refusal_write_errno("write a new", replace->path, error);
  if (done && rename(replace->beside, replace->path) != 0)
    done = refusal_write_errno("replace", replace->path, error);
  if (!done) unlink(replace->beside);
  free(replace->beside);
  return done && sync_directory(replace->path, error);
}

void file_replace_drop(struct file_replace *replace) {
  fclose(replace->out);
  unlink(replace->beside);
  free(replace->beside);
}
