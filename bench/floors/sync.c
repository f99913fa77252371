/* bench-sync: the floor of a durable write: 4 KiB into a file of zeros, and fdatasync, one after
 * the other.
 *
 *   bench-sync DIR COUNT
 *
 * The file is zero-filled and synced before, as the segments of a journal are: a write changes no
 * metadata, so that a sync is one write of the disk and its flush. In a file that grows, or that
 * was only allocated, each sync would also commit the file system's own journal. The file is
 * removed at the end. It knows no server and no load.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum {
  EXIT_USAGE = 2,
  BLOCK_BYTES = 4096,
  FILE_BYTES = 16 << 20,
  FILL_BYTES = 1 << 20,
  COUNT_MAX = 1000000
};

static uint64_t now_ns(clockid_t clock) {
  struct timespec now;
  clock_gettime(clock, &now);
  return (uint64_t)now.tv_sec * UINT64_C(1000000000) + (uint64_t)now.tv_nsec;
}

static int write_whole(int fd, const char *bytes, size_t length, off_t offset) {
  ssize_t written = pwrite(fd, bytes, length, offset);
  if (written >= 0 && (size_t)written < length) errno = ENOSPC;
  return written == (ssize_t)length ? 0 : -1;
}

static int fill(int fd) {
  static const char zeros[FILL_BYTES];
  for (off_t offset = 0; offset < FILE_BYTES; offset += FILL_BYTES) {
    if (write_whole(fd, zeros, sizeof zeros, offset) != 0) return -1;
  }
  return fsync(fd);
}

static int measure(int fd, uint64_t *took_ns, size_t count) {
  char block[BLOCK_BYTES];
  memset(block, 'b', sizeof block);
  for (size_t i = 0; i < count; i++) {
    off_t offset = (off_t)(i * BLOCK_BYTES % FILE_BYTES);
    uint64_t began_ns = now_ns(CLOCK_MONOTONIC);
    memcpy(block, &began_ns, sizeof began_ns);
    if (write_whole(fd, block, sizeof block, offset) != 0 || fdatasync(fd) != 0) return -1;
    took_ns[i] = now_ns(CLOCK_MONOTONIC) - began_ns;
  }
  return 0;
}

static int compare(const void *left, const void *right) {
  uint64_t a = *(const uint64_t *)left, b = *(const uint64_t *)right;
  return (a > b) - (a < b);
}

static void print_us(const char *name, uint64_t ns) {
  printf("latency_%s_us %.2f\n", name, (double)ns / 1000);
}

static void print(uint64_t *took_ns, size_t count, uint64_t cpu_ns) {
  uint64_t sum_ns = 0;
  for (size_t i = 0; i < count; i++) sum_ns += took_ns[i];
  qsort(took_ns, count, sizeof *took_ns, compare);
  printf("operations %zu\n", count);
  printf("operations_per_second %.1f\n", (double)count * 1e9 / (double)sum_ns);
  print_us("p50", took_ns[count / 2]);
  print_us("p99", took_ns[count * 99 / 100]);
  print_us("p999", took_ns[count * 999 / 1000]);
  print_us("max", took_ns[count - 1]);
  printf("server_cpu_ns_per_operation %.2f\n", (double)cpu_ns / (double)count);
}

static int run(const char *path, size_t count) {
  uint64_t *took_ns = calloc(count, sizeof *took_ns);
  int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  int error = took_ns == NULL || fd < 0 || fill(fd) != 0 ? errno : 0;
  uint64_t before_ns = now_ns(CLOCK_PROCESS_CPUTIME_ID);
  if (error == 0 && measure(fd, took_ns, count) != 0) error = errno;
  uint64_t cpu_ns = now_ns(CLOCK_PROCESS_CPUTIME_ID) - before_ns;
  if (fd >= 0) {
    close(fd);
    unlink(path);
  }
  if (error == 0) print(took_ns, count, cpu_ns);
  if (error != 0) fprintf(stderr, "bench-sync: %s: %s\n", path, strerror(error));
  free(took_ns);
  return error == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

static int usage(FILE *stream) {
  fprintf(
      stream,
      "usage: bench-sync DIR COUNT\n"
      "COUNT times 4 KiB and fdatasync in a zero-filled file in DIR, and how long each took.\n");
  return stream == stdout ? EXIT_SUCCESS : EXIT_USAGE;
}

int main(int argc, char **argv) {
  if (argc == 2 && strcmp(argv[1], "--help") == 0) return usage(stdout);
  if (argc != 3) return usage(stderr);
  char *end = NULL, path[4096];
  uintmax_t count = strtoumax(argv[2], &end, 10);
  if (*end != '\0' || count < 1 || count > COUNT_MAX) return usage(stderr);
  int bytes = snprintf(path, sizeof path, "%s/bench-sync.%ld", argv[1], (long)getpid());
  if (bytes < 0 || (size_t)bytes >= sizeof path) return usage(stderr);
  return run(path, (size_t)count);
}
