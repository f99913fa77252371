/* files.c - see files.h. */
#include "server/journal/files.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define LOCK_NAME "LOCK"

struct real {
  struct journal_files files; /* first: files_close is given its address */
  int directory, lock;        /* lock: -1 when nothing is written to */
  bool write;
  char path[];
};

/* ---- the layer: one system call each ---- */

static int result(int64_t returned) { return returned < 0 ? -errno : (int)returned; }

static int real_list(void *context, files_visitor *visit, void *visit_context) {
  const struct real *real = context;
  int file = openat(real->directory, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (file < 0) return -errno;
  DIR *stream = fdopendir(file);
  if (stream == NULL) {
    int error = -errno;
    close(file);
    return error;
  }
  const struct dirent *entry;
  for (errno = 0; (entry = readdir(stream)) != NULL; errno = 0) visit(visit_context, entry->d_name);
  int error = -errno;
  closedir(stream);
  return error;
}

static int real_open(void *context, const char *name, bool create) {
  const struct real *real = context;
  int flags = (real->write ? O_RDWR : O_RDONLY) | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK;
  int file = openat(real->directory, name, create ? flags | O_CREAT : flags, 0600);
  if (file < 0) return -errno;
  if (create && fchmod(file, 0600) != 0) { /* the umask may have taken from it */
    int error = -errno;
    close(file);
    return error;
  }
  return file;
}

static int real_close(void *context, int file) {
  (void)context;
  return result(close(file));
}

static int64_t real_size(void *context, int file) {
  (void)context;
  struct stat about;
  if (fstat(file, &about) != 0) return -errno;
  return S_ISREG(about.st_mode) ? about.st_size : -EINVAL;
}

static int64_t real_read(void *context, int file, void *to, size_t count, uint64_t at) {
  (void)context;
  ssize_t got = pread(file, to, count, (off_t)at);
  return got < 0 ? -errno : got;
}

static int64_t real_write(void *context, int file, const void *from, size_t count, uint64_t at) {
  (void)context;
  ssize_t written = pwrite(file, from, count, (off_t)at);
  return written < 0 ? -errno : written;
}

static int real_allocate(void *context, int file, uint64_t at, uint64_t count) {
  (void)context;
  return result(fallocate(file, 0, (off_t)at, (off_t)count));
}

static int real_sync(void *context, int file) {
  (void)context;
  return result(fdatasync(file));
}

static int real_links(void *context, int file) {
  (void)context;
  struct stat about;
  return fstat(file, &about) != 0 ? -errno : (int)about.st_nlink;
}

static int real_rename(void *context, const char *from, const char *to) {
  const struct real *real = context;
  return result(renameat(real->directory, from, real->directory, to));
}

static int real_remove(void *context, const char *name) {
  const struct real *real = context;
  return result(unlinkat(real->directory, name, 0));
}

static int real_sync_directory(void *context) {
  const struct real *real = context;
  return result(fsync(real->directory));
}

/* ---- opening ---- */

__attribute__((format(printf, 2, 3))) static bool refuse(char error[FILES_ERROR_BYTES],
                                                         const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(error, FILES_ERROR_BYTES, format, arguments);
  va_end(arguments);
  return false;
}

/* The new name is durable once its parent is: a log in a directory that is gone is gone. */
static bool sync_parent(const char *directory) {
  char *copy = strdup(directory);
  if (copy == NULL) return false;
  int parent = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  bool fine = parent >= 0 && fsync(parent) == 0;
  int kept = errno;
  if (parent >= 0) close(parent);
  free(copy);
  errno = kept;
  return fine;
}

static bool make_directory(const char *directory, char error[FILES_ERROR_BYTES]) {
  if (mkdir(directory, 0700) != 0) {
    if (errno == EEXIST) return true;
    return refuse(error, "dir %s cannot be made: %s", directory, strerror(errno));
  }
  if (chmod(directory, 0700) == 0 && sync_parent(directory)) return true;
  return refuse(error, "dir %s was made, but is not durable: %s", directory, strerror(errno));
}

static bool open_directory(struct real *real, char error[FILES_ERROR_BYTES]) {
  const char *path = real->path;
  struct stat about;
  real->directory = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (real->directory < 0 || fstat(real->directory, &about) != 0) {
    return refuse(error, "dir %s: %s", path, strerror(errno));
  }
  real->files.group_may_enter = (about.st_mode & S_IRWXG) != 0;
  if (real->write && (about.st_mode & (S_IXOTH | S_IWOTH)) != 0) {
    return refuse(error, "dir %s may be entered by every user (mode %03o): chmod 700", path,
                  (unsigned)about.st_mode & 0777);
  }
  return true;
}

static bool take_lock(struct real *real, char error[FILES_ERROR_BYTES]) {
  real->lock = real_open(real, LOCK_NAME, true);
  if (real->lock < 0) {
    int reason = -real->lock;
    return refuse(error, "dir %s cannot be written to (%s): %s", real->path, LOCK_NAME,
                  strerror(reason));
  }
  /* The directory itself too: a LOCK that somebody removed is made anew by the next server. */
  if (flock(real->lock, LOCK_EX | LOCK_NB) == 0 && flock(real->directory, LOCK_EX | LOCK_NB) == 0)
    return true;
  if (errno == EWOULDBLOCK) {
    return refuse(error, "dir %s is in use by another server (%s)", real->path, LOCK_NAME);
  }
  return refuse(error, "dir %s cannot be locked (%s): %s", real->path, LOCK_NAME, strerror(errno));
}

static struct real *make(const char *directory, bool write) {
  size_t length = strlen(directory) + 1;
  struct real *real = malloc(sizeof *real + length);
  if (real == NULL) return NULL;
  *real = (struct real){
      .files = {.context = real,
                .directory = real->path,
                .list = real_list,
                .open = real_open,
                .close = real_close,
                .size = real_size,
                .read = real_read,
                .write = real_write,
                .allocate = real_allocate,
                .sync = real_sync,
                .links = real_links,
                .rename = real_rename,
                .remove = real_remove,
                .sync_directory = real_sync_directory},
      .directory = -1,
      .lock = -1,
      .write = write,
  };
  memcpy(real->path, directory, length);
  return real;
}

struct journal_files *files_open(const char *directory, bool write, char error[FILES_ERROR_BYTES]) {
  if (write && !make_directory(directory, error)) return NULL;
  struct real *real = make(directory, write);
  if (real == NULL) {
    refuse(error, "dir %s: no memory", directory);
    return NULL;
  }
  if (open_directory(real, error) && (!write || take_lock(real, error))) return &real->files;
  files_close(&real->files);
  return NULL;
}

void files_close(struct journal_files *files) {
  if (files == NULL) return;
  struct real *real = files->context;
  if (real->lock >= 0) close(real->lock);
  if (real->directory >= 0) close(real->directory);
  free(real);
}
