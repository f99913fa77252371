/* harness.c - see harness.h. */
#include "tests/client/harness.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <hiredis/hiredis.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define ARGUMENTS 32

void harness_fail(const char *file, int line, const char *condition, const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  fprintf(stderr, "%s:%d: %s failed: ", file, line, condition);
  vfprintf(stderr, format, arguments);
  fprintf(stderr, "\n");
  va_end(arguments);
  fflush(NULL);
  _exit(1);
}

int64_t now_ms(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

int64_t cpu_ns(void) {
  struct timespec now;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

void pause_ms(int64_t ms) {
  struct timespec left = {.tv_sec = (time_t)(ms / 1000), .tv_nsec = (long)(ms % 1000 * 1000000)};
  while (nanosleep(&left, &left) != 0 && errno == EINTR) continue;
}

void url_of(char *out, size_t size, int port) { snprintf(out, size, "redis://127.0.0.1:%d", port); }

int open_descriptors(void) {
  int count = 0;
  DIR *directory = opendir("/proc/self/fd");
  CHECK(directory != NULL, "%s", strerror(errno));
  while (readdir(directory) != NULL) count++;
  closedir(directory);
  return count;
}

struct idem_options patient_options(const struct idem_options *options) {
  struct idem_options patient = {.name = NULL};
  if (options != NULL) patient = *options;
  if (patient.connect_timeout_ms == 0) patient.connect_timeout_ms = HANG_MS / 2;
  if (patient.command_timeout_ms == 0) patient.command_timeout_ms = HANG_MS / 2;
  if (patient.deadline_ms == 0) patient.deadline_ms = HANG_MS;
  return patient;
}

struct idem_client *must_open(int port, const struct idem_options *options) {
  char url[64];
  url_of(url, sizeof url, port);
  return must_open_url(url, options);
}

struct idem_client *must_open_url(const char *url, const struct idem_options *options) {
  struct idem_client *client = NULL;
  struct idem_error error;
  const struct idem_options patient = patient_options(options);
  enum idem_status status = idem_open(url, &patient, &client, &error);
  CHECK(status == IDEM_OK, "%s: %s", idem_status_name(status), error.text);
  return client;
}

long server_count(int port, const char *field) {
  char wanted[64];
  redisContext *context = redisConnect("127.0.0.1", port);
  CHECK(context != NULL && context->err == 0, "no connection");
  redisReply *reply = redisCommand(context, "INFO idem");
  snprintf(wanted, sizeof wanted, "\n%s:", field);
  const char *line = reply != NULL && reply->str != NULL ? strstr(reply->str, wanted) : NULL;
  CHECK(line != NULL, "INFO has no %s", field);
  long value = strtol(line + strlen(wanted), NULL, 10);
  freeReplyObject(reply);
  redisFree(context);
  return value;
}

static void become_server(int out, int port, const char *const *extra) {
  const char *program = getenv("IDEM_SERVER");
  char port_text[16];
  const char *arguments[ARGUMENTS] = {program != NULL ? program : "build/release/idem-server",
                                      "--port", port_text, "--bind", "127.0.0.1"};
  snprintf(port_text, sizeof port_text, "%d", port);
  int count = 5;
  while (extra != NULL && *extra != NULL && count < ARGUMENTS - 1) arguments[count++] = *extra++;
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  dup2(out, 1);
  execv(arguments[0], (char *const *)(uintptr_t)arguments);
  _exit(127);
}

/* The port from the line that says ready, or -1 when the server ended without one. */
static int await_ready(int log) {
  char text[8192];
  size_t len = 0;
  while (len + 1 < sizeof text) {
    struct pollfd wanted = {.fd = log, .events = POLLIN};
    if (poll(&wanted, 1, HANG_MS) <= 0) return -1;
    ssize_t got = read(log, text + len, sizeof text - 1 - len);
    if (got <= 0) return -1;
    len += (size_t)got;
    text[len] = '\0';
    const char *line = strstr(text, "ready to accept connections on ");
    const char *end = line != NULL ? strchr(line, '\n') : NULL;
    if (end == NULL) continue;
    while (end[-1] < '0' || end[-1] > '9') end--;
    while (end[-1] >= '0' && end[-1] <= '9') end--;
    return atoi(end);
  }
  return -1;
}

static bool try_start(struct server *server, int port, const char *const *arguments) {
  int ends[2];
  CHECK(pipe2(ends, O_CLOEXEC) == 0, "%s", strerror(errno));
  server->pid = fork();
  CHECK(server->pid >= 0, "%s", strerror(errno));
  if (server->pid == 0) become_server(ends[1], port, arguments);
  close(ends[1]);
  server->log = ends[0];
  server->port = await_ready(ends[0]);
  if (server->port > 0) return true;
  server_kill(server, SIGKILL);
  return false;
}

void server_start(struct server *server, int port, const char *const *arguments) {
  int64_t until = now_ms() + (port != 0 ? HANG_MS : 0);
  while (!try_start(server, port, arguments)) {
    CHECK(now_ms() < until, "the server does not start (IDEM_SERVER)");
    pause_ms(50);
  }
}

void server_kill(struct server *server, int number) {
  kill(server->pid, number);
  while (waitpid(server->pid, NULL, WNOHANG) == 0) {
    pause_ms(1);
    kill(server->pid, number); /* a second SIGTERM ends a drain, which waits for open claims */
  }
  close(server->log);
}

struct idem_claim *must_begin_key(struct idem_client *client, const char *key) {
  const struct idem_request request = {.key = idem_text(key), .flags = IDEM_NO_RENEWAL};
  struct idem_answer answer;
  struct idem_claim *claim = NULL;
  enum idem_status status = idem_begin(client, &request, &claim, &answer);
  CHECK(status == IDEM_RUN, "%s: %s", idem_status_name(status), answer.message);
  idem_answer_clear(&answer);
  return claim;
}

int count_work(struct idem_claim *claim, void *context, struct idem_result *result) {
  (void)claim;
  ++*(int *)context;
  result->body = idem_text("made");
  return IDEM_WORK_DONE;
}
