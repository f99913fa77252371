/*
 * recorder.c - preloaded into a server by tests/system/disk.py: a disk that can be watched and that
 * fails on demand. It notes, in one order for all threads, what the server asks of the files in
 * $IDEM_TEST_DIR and of its sockets, and lets single calls fail.
 *
 * It lives in the file $IDEM_TEST_DISK, which test and server share: struct control, then the
 * notes. A note of a sync or of a send has two halves, `began` and `ended`, before and after the
 * call: what ended before something else began was certainly done by then, whatever the threads
 * are.
 *
 * It must not know what the server writes. Without $IDEM_TEST_DISK it does nothing.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#define CONTROL_BYTES 4096u
#define FILES_MOST 65536
#define ALWAYS UINT32_MAX

/* disk.py has the same fields in the same order. */
struct control {
  _Atomic uint64_t end;                      /* of the notes */
  _Atomic uint32_t sync_errno, sync_times;   /* times: ALWAYS, or so many calls more */
  _Atomic uint32_t zeros_errno, zeros_times; /* only syncs of a thread that wrote zeros last */
  _Atomic uint32_t swallow;                  /* syncs say 0 and are not done */
  _Atomic uint32_t sync_delay_us;
  _Atomic uint32_t write_errno, write_times;    /* of batches: not of zeros */
  _Atomic uint32_t write_most;                  /* bytes that one call writes; 0: all */
  _Atomic uint32_t eintr_times;                 /* writes and syncs */
  _Atomic uint32_t room_errno;                  /* no file grows, none is made */
  _Atomic uint32_t room_refused, syncs, failed; /* what happened */
};

enum kind { OPENED = 1, CLOSED, WROTE, SYNC_BEGAN, SYNC_ENDED, RENAMED, REMOVED, SEND_BEGAN, SENT };
enum { NOT_OURS, OUR_FILE, OUR_DIRECTORY };

struct note {
  uint32_t bytes; /* stored last */
  uint32_t kind;
  int32_t file, result;
  uint64_t at; /* offset in a file; of `ended`: where `began` stands */
  uint64_t len;
};

static struct control *control;
static uint64_t notes_most; /* 0: nothing is noted */
static const char *directory;
static _Atomic uint8_t ours[FILES_MOST];
static _Thread_local bool wrote_zeros;

__attribute__((constructor)) static void begin(void) {
  const char *path = getenv("IDEM_TEST_DISK");
  directory = getenv("IDEM_TEST_DIR");
  if (path == NULL || directory == NULL) return;
  int file = (int)syscall(SYS_openat, AT_FDCWD, path, O_RDWR | O_CLOEXEC, 0);
  struct stat about;
  if (file < 0 || fstat(file, &about) != 0) abort();
  size_t size = (size_t)about.st_size;
  void *bytes = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
  syscall(SYS_close, file);
  if (bytes == MAP_FAILED) abort();
  control = bytes;
  notes_most = size - CONTROL_BYTES;
}

/* ---- notes ---- */

static uint64_t put_note(enum kind kind, int file, int result, uint64_t at,
                         const struct iovec *parts, int count) {
  size_t len = 0;
  for (int i = 0; i < count; i++) len += parts[i].iov_len;
  uint64_t bytes = (sizeof(struct note) + len + 7) & ~UINT64_C(7);
  if (control == NULL || notes_most == 0) return 0;
  uint64_t place = atomic_fetch_add(&control->end, bytes);
  if (place + bytes > notes_most) abort();
  char *to = (char *)control + CONTROL_BYTES + place;
  struct note *note = (struct note *)to;
  *note =
      (struct note){.kind = (uint32_t)kind, .file = file, .result = result, .at = at, .len = len};
  to += sizeof *note;
  for (int i = 0; i < count; i++) {
    if (parts[i].iov_len > 0) memcpy(to, parts[i].iov_base, parts[i].iov_len);
    to += parts[i].iov_len;
  }
  __atomic_store_n(&note->bytes, (uint32_t)bytes, __ATOMIC_RELEASE);
  return place;
}

static void note_names(enum kind kind, int file, const char *a, const char *b) {
  int kept = errno;
  struct iovec parts[] = {{(void *)(uintptr_t)a, strlen(a) + 1}, {(void *)(uintptr_t)b, strlen(b)}};
  put_note(kind, file, 0, 0, parts, 2);
  errno = kept;
}

static int ours_of(int file) {
  return control != NULL && file >= 0 && file < FILES_MOST ? atomic_load(&ours[file]) : NOT_OURS;
}

/* ---- faults ---- */

/* Takes one of so many times. */
static bool takes(_Atomic uint32_t *times) {
  uint32_t left = atomic_load(times);
  while (left != 0 && left != ALWAYS)
    if (atomic_compare_exchange_weak(times, &left, left - 1)) return true;
  return left == ALWAYS;
}

static int fail(int error) {
  atomic_fetch_add(&control->failed, 1);
  errno = error;
  return -1;
}

static bool beyond(int file, uint64_t end) {
  struct stat about;
  return fstat(file, &about) == 0 && end > (uint64_t)about.st_size;
}

static bool has_no_room(int file, uint64_t end) {
  uint32_t error = atomic_load(&control->room_errno);
  if (error == 0 || !beyond(file, end)) return false;
  atomic_fetch_add(&control->room_refused, 1);
  errno = (int)error;
  return true;
}

static bool are_zeros(const char *bytes, size_t count) {
  return count == 0 || (bytes[0] == 0 && memcmp(bytes, bytes + 1, count - 1) == 0);
}

/* ---- files ---- */

static int opened(int file, int folder, const char *path, int flags) {
  if (file < 0 || file >= FILES_MOST || control == NULL) return file;
  bool is_directory = folder == AT_FDCWD && strcmp(path, directory) == 0;
  bool is_file = folder != AT_FDCWD && ours_of(folder) == OUR_DIRECTORY;
  uint8_t what = is_directory ? OUR_DIRECTORY : is_file ? OUR_FILE : NOT_OURS;
  atomic_store(&ours[file], what);
  if (what != NOT_OURS) note_names(OPENED, file, path, (flags & O_CREAT) != 0 ? "create" : "");
  return file;
}

static int open_any(int folder, const char *path, int flags, mode_t mode) {
  bool makes = (flags & O_CREAT) != 0 && ours_of(folder) == OUR_DIRECTORY;
  if (makes && atomic_load(&control->room_errno) != 0 && faccessat(folder, path, F_OK, 0) != 0) {
    atomic_fetch_add(&control->room_refused, 1);
    errno = (int)atomic_load(&control->room_errno);
    return -1;
  }
  return opened((int)syscall(SYS_openat, folder, path, flags, mode), folder, path, flags);
}

#define MODE_OF(flags)                          \
  mode_t mode = 0;                              \
  if (((flags) & (O_CREAT | O_TMPFILE)) != 0) { \
    va_list arguments;                          \
    va_start(arguments, flags);                 \
    mode = (mode_t)va_arg(arguments, int);      \
    va_end(arguments);                          \
  }

int open(const char *path, int flags, ...) {
  MODE_OF(flags)
  return open_any(AT_FDCWD, path, flags, mode);
}
int open64(const char *path, int flags, ...) {
  MODE_OF(flags)
  return open_any(AT_FDCWD, path, flags, mode);
}
int openat(int folder, const char *path, int flags, ...) {
  MODE_OF(flags)
  return open_any(folder, path, flags, mode);
}
int openat64(int folder, const char *path, int flags, ...) {
  MODE_OF(flags)
  return open_any(folder, path, flags, mode);
}
int __open_2(const char *path, int flags) { return open_any(AT_FDCWD, path, flags, 0); }
int __openat_2(int folder, const char *path, int flags) { return open_any(folder, path, flags, 0); }

int close(int file) {
  if (ours_of(file) != NOT_OURS) {
    atomic_store(&ours[file], NOT_OURS);
    put_note(CLOSED, file, 0, 0, NULL, 0);
  }
  return (int)syscall(SYS_close, file);
}

/* Of a batch or of zeros: how much of it is written; -1 with errno. */
static ssize_t allowed(int file, const void *bytes, size_t count, off_t at) {
  wrote_zeros = are_zeros(bytes, count);
  if (takes(&control->eintr_times)) return fail(EINTR);
  if (has_no_room(file, (uint64_t)at + count)) return -1;
  if (!wrote_zeros && takes(&control->write_times))
    return fail((int)atomic_load(&control->write_errno));
  uint32_t most = atomic_load(&control->write_most);
  return most != 0 && count > most ? (ssize_t)most : (ssize_t)count;
}

ssize_t pwrite(int file, const void *bytes, size_t count, off_t at) {
  if (ours_of(file) != OUR_FILE) return syscall(SYS_pwrite64, file, bytes, count, at);
  ssize_t part = allowed(file, bytes, count, at);
  if (part < 0) return -1;
  ssize_t written = syscall(SYS_pwrite64, file, bytes, (size_t)part, at);
  if (written < 0) return written;
  struct iovec noted = {(void *)(uintptr_t)bytes, wrote_zeros ? 0 : (size_t)written};
  put_note(WROTE, file, (int)written, (uint64_t)at, &noted, 1);
  return written;
}
ssize_t pwrite64(int file, const void *bytes, size_t count, off_t at) {
  return pwrite(file, bytes, count, at);
}

int fallocate(int file, int mode, off_t at, off_t count) {
  if (ours_of(file) == OUR_FILE && has_no_room(file, (uint64_t)(at + count))) return -1;
  return (int)syscall(SYS_fallocate, file, mode, at, count);
}
int fallocate64(int file, int mode, off_t at, off_t count) {
  return fallocate(file, mode, at, count);
}

static int sync_fails(void) {
  if (takes(&control->eintr_times)) return EINTR;
  if (takes(&control->sync_times)) return (int)atomic_load(&control->sync_errno);
  if (wrote_zeros && takes(&control->zeros_times)) return (int)atomic_load(&control->zeros_errno);
  return 0;
}

/* result: 0 done, 1 swallowed, -1 failed. */
static int sync_any(long number, int file) {
  if (ours_of(file) == NOT_OURS) return (int)syscall(number, file);
  uint64_t place = put_note(SYNC_BEGAN, file, 0, 0, NULL, 0);
  uint32_t delay_us = atomic_load(&control->sync_delay_us);
  struct timespec delay = {delay_us / 1000000, (long)(delay_us % 1000000) * 1000};
  if (delay_us != 0) nanosleep(&delay, NULL);
  int error = sync_fails();
  if (error != 0) return fail(error);
  bool swallow = atomic_load(&control->swallow) != 0;
  int result = swallow ? 0 : (int)syscall(number, file);
  atomic_fetch_add(&control->syncs, 1);
  put_note(SYNC_ENDED, file, swallow ? 1 : result, place, NULL, 0);
  return result;
}
int fdatasync(int file) { return sync_any(SYS_fdatasync, file); }
int fsync(int file) { return sync_any(SYS_fsync, file); }

int renameat(int from_folder, const char *from, int to_folder, const char *to) {
  int result = (int)syscall(SYS_renameat2, from_folder, from, to_folder, to, 0);
  if (result == 0 && ours_of(to_folder) == OUR_DIRECTORY) note_names(RENAMED, to_folder, from, to);
  return result;
}

int unlinkat(int folder, const char *name, int flags) {
  int result = (int)syscall(SYS_unlinkat, folder, name, flags);
  if (result == 0 && ours_of(folder) == OUR_DIRECTORY) note_names(REMOVED, folder, name, "");
  return result;
}

/* ---- sockets ---- */

static bool is_socket(int file) {
  struct stat about;
  return control != NULL && notes_most != 0 && fstat(file, &about) == 0 && S_ISSOCK(about.st_mode);
}

/* What was sent of the parts, into one note. */
static void note_sent(int file, uint64_t place, const struct iovec *parts, int count,
                      ssize_t sent) {
  struct iovec noted[1024];
  int kept = errno, n = 0;
  for (size_t left = sent > 0 ? (size_t)sent : 0; left > 0 && n < count && n < 1024; n++) {
    noted[n] = parts[n];
    if (noted[n].iov_len > left) noted[n].iov_len = left;
    left -= noted[n].iov_len;
  }
  put_note(SENT, file, (int)sent, place, noted, n);
  errno = kept;
}

static ssize_t send_parts(int file, const struct iovec *parts, int count) {
  if (!is_socket(file)) return syscall(SYS_writev, file, parts, count);
  uint64_t place = put_note(SEND_BEGAN, file, 0, 0, NULL, 0);
  ssize_t sent = syscall(SYS_writev, file, parts, count);
  note_sent(file, place, parts, count, sent);
  return sent;
}

ssize_t writev(int file, const struct iovec *parts, int count) {
  return send_parts(file, parts, count);
}
ssize_t write(int file, const void *bytes, size_t count) {
  struct iovec part = {(void *)(uintptr_t)bytes, count};
  return send_parts(file, &part, 1);
}
ssize_t sendmsg(int file, const struct msghdr *message, int flags) {
  if (!is_socket(file)) return syscall(SYS_sendmsg, file, message, flags);
  uint64_t place = put_note(SEND_BEGAN, file, 0, 0, NULL, 0);
  ssize_t sent = syscall(SYS_sendmsg, file, message, flags);
  note_sent(file, place, message->msg_iov, (int)message->msg_iovlen, sent);
  return sent;
}
ssize_t send(int file, const void *bytes, size_t count, int flags) {
  struct iovec part = {(void *)(uintptr_t)bytes, count};
  struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
  return sendmsg(file, &message, flags);
}
