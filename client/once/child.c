/*
 * child.c - one poll loop over the command's two streams, its signals and the loss of the claim.
 *
 *     command --pipe--> chunk --> our stdout   a chunk is read when the one before has been
 *                          \----> record       written, and written only when poll says it can be
 *
 * A chunk is at most PIPE_BUF bytes: so many a pipe takes at once when POLLOUT is up, so no write
 * blocks on a slow reader and SIGTERM reaches the command all the same. (O_NONBLOCK is no way:
 * stdout may be shared with other programs.)
 */
#include "client/once/child.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define RECORD_FIRST_BYTES 4096

static const int FORWARDED[] = {SIGTERM, SIGINT,  SIGHUP,  SIGQUIT, SIGUSR1,
                                SIGUSR2, SIGALRM, SIGCONT, SIGWINCH};

struct stream {
  int from; /* -1: its end was read */
  int to;   /* -1: nobody reads it any more */
  size_t have, written;
  size_t left; /* after the end of the command: bytes that are still to be read */
  char chunk[PIPE_BUF];
};

struct child {
  const struct child_order *order;
  struct child_outcome *outcome;
  struct stream streams[CHILD_STREAMS];
  pid_t pid;
  int own_group; /* 1: signals go to its process group */
  int ended;
  int signals;        /* signalfd */
  int lost;           /* copy of the order's, -1 when there is nothing more to read */
  int64_t kill_at_ms; /* -1: never */
  void (*sigpipe_before)(int);
};

static int64_t now_ms(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void record_append(struct child_outcome *outcome, struct child_record *record,
                          const char *data, size_t len) {
  size_t total = outcome->record[CHILD_STDOUT].len + outcome->record[CHILD_STDERR].len;
  size_t room = outcome->missed > 0 ? 0 : CHILD_OUTPUT_LIMIT_BYTES - total;
  size_t kept = len < room ? len : room;
  if (record->size - record->len < kept) {
    size_t size = record->size == 0 ? RECORD_FIRST_BYTES : record->size * 2;
    while (size < record->len + kept) size *= 2;
    char *grown = realloc(record->data, size);
    if (grown == NULL) {
      kept = 0;
    } else {
      record->data = grown;
      record->size = size;
    }
  }
  if (kept > 0) memcpy(record->data + record->len, data, kept);
  record->len += kept;
  outcome->missed += len - kept;
}

/* ---- starting ---- */

static void child_signal_all(struct child *child, int number) {
  if (!child->ended) kill(child->own_group ? -child->pid : child->pid, number);
}

/* Between fork and exec, in a process whose parent may have threads: nothing but system calls. */
static void exec_command(const struct child *child, int out, int err, int report,
                         const sigset_t *mask, pid_t parent) {
  if (child->own_group) setpgid(0, 0);
  /* A command that outlived idem-once would run beside the next one that is granted the claim. */
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (getppid() != parent) _exit(127);
  if (dup2(out, STDOUT_FILENO) >= 0 && dup2(err, STDERR_FILENO) >= 0) {
    signal(SIGPIPE, child->sigpipe_before);
    sigprocmask(SIG_SETMASK, mask, NULL);
    execvp(child->order->command[0], child->order->command);
  }
  int error = errno;
  ssize_t written = write(report, &error, sizeof error);
  _exit(written == (ssize_t)sizeof error ? 127 : 126);
}

/* 0 when exec has succeeded (it closes the report), else -errno. */
static int await_exec(struct child *child, int report) {
  int error = 0;
  ssize_t got;
  do got = read(report, &error, sizeof error);
  while (got < 0 && errno == EINTR);
  if (got == 0) return 0;
  while (waitpid(child->pid, NULL, 0) < 0 && errno == EINTR) continue;
  return got == (ssize_t)sizeof error ? -error : -EIO;
}

static void close_pair(int pair[2]) {
  if (pair[0] >= 0) close(pair[0]);
  if (pair[1] >= 0) close(pair[1]);
}

static int child_start(struct child *child, const sigset_t *mask) {
  int out[2] = {-1, -1}, err[2] = {-1, -1}, report[2] = {-1, -1};
  int result = 0;
  if (pipe2(out, O_CLOEXEC) != 0 || pipe2(err, O_CLOEXEC) != 0 || pipe2(report, O_CLOEXEC) != 0) {
    result = -errno;
    goto done;
  }
  pid_t parent = getpid();
  child->pid = fork();
  if (child->pid == 0) exec_command(child, out[1], err[1], report[1], mask, parent);
  if (child->pid < 0) {
    result = -errno;
    goto done;
  }
  if (child->own_group) setpgid(child->pid, child->pid); /* here as well: whoever comes first */
  close(report[1]);
  report[1] = -1;
  result = await_exec(child, report[0]);
  if (result != 0) goto done;
  child->streams[CHILD_STDOUT].from = out[0];
  child->streams[CHILD_STDERR].from = err[0];
  out[0] = err[0] = -1;

done:
  close_pair(out);
  close_pair(err);
  close_pair(report);
  return result;
}

/* ---- while it runs ---- */

static void stream_close(struct stream *stream) {
  close(stream->from);
  stream->from = -1;
}

static void stream_read(struct child *child, enum child_stream which) {
  struct stream *stream = &child->streams[which];
  size_t most = sizeof stream->chunk;
  if (child->ended && stream->left < most) most = stream->left;
  ssize_t got = most > 0 ? read(stream->from, stream->chunk, most) : 0;
  if (got < 0 && errno == EINTR) return;
  if (got <= 0) {
    stream_close(stream);
    return;
  }
  record_append(child->outcome, &child->outcome->record[which], stream->chunk, (size_t)got);
  if (child->ended) stream->left -= (size_t)got;
  if (stream->to >= 0) stream->have = (size_t)got;
}

static void stream_write(struct stream *stream) {
  ssize_t put = write(stream->to, stream->chunk + stream->written, stream->have - stream->written);
  if (put < 0 && (errno == EINTR || errno == EAGAIN)) return;
  if (put < 0) stream->to = -1; /* the command runs on, and is recorded, for those who come later */
  if (put > 0) stream->written += (size_t)put;
  if (put < 0 || stream->written == stream->have) stream->have = stream->written = 0;
}

/* What it left in the pipes is its output; what background processes of it write later is not
 * waited for. */
static void child_reap(struct child *child) {
  int status;
  if (child->ended || waitpid(child->pid, &status, WNOHANG) != child->pid) return;
  child->ended = 1;
  child->outcome->exit_status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  for (int i = 0; i < CHILD_STREAMS; i++) {
    struct stream *stream = &child->streams[i];
    int left = 0;
    if (stream->from < 0) continue;
    if (ioctl(stream->from, FIONREAD, &left) != 0 || left <= 0) stream_close(stream);
    stream->left = (size_t)left;
  }
}

static void child_take_signal(struct child *child) {
  struct signalfd_siginfo info;
  if (read(child->signals, &info, sizeof info) != (ssize_t)sizeof info) return;
  if (info.ssi_signo == SIGCHLD) {
    child_reap(child);
    return;
  }
  /* A terminal has sent its Ctrl-C to the whole foreground group: the command has it already if it
   * is of ours. */
  if (info.ssi_code == SI_KERNEL && !child->own_group) return;
  child_signal_all(child, (int)info.ssi_signo);
}

static void child_take_loss(struct child *child) {
  char byte;
  if (read(child->lost, &byte, 1) <= 0) child->lost = -1;
  if (!child->order->kill_when_lost || child->outcome->killed || child->ended) return;
  child->outcome->killed = 1;
  child_signal_all(child, SIGTERM);
  child_signal_all(child, SIGCONT);
  child->kill_at_ms = now_ms() + CHILD_KILL_GRACE_MS;
}

static int child_busy(const struct child *child) {
  if (!child->ended) return 1;
  for (int i = 0; i < CHILD_STREAMS; i++) {
    if (child->streams[i].from >= 0 || child->streams[i].have > 0) return 1;
  }
  return 0;
}

static int child_timeout_ms(struct child *child) {
  if (child->kill_at_ms < 0 || child->ended) return -1;
  int64_t left_ms = child->kill_at_ms - now_ms();
  if (left_ms > 0) return (int)left_ms;
  child_signal_all(child, SIGKILL);
  child->kill_at_ms = -1;
  return -1;
}

static void child_turn(struct child *child) {
  struct pollfd polled[CHILD_STREAMS + 2];
  for (int i = 0; i < CHILD_STREAMS; i++) {
    const struct stream *stream = &child->streams[i];
    int writes = stream->have > 0;
    polled[i].fd = writes ? stream->to : stream->from;
    polled[i].events = writes ? POLLOUT : POLLIN;
  }
  polled[CHILD_STREAMS] = (struct pollfd){.fd = child->signals, .events = POLLIN};
  polled[CHILD_STREAMS + 1] = (struct pollfd){.fd = child->lost, .events = POLLIN};
  if (poll(polled, CHILD_STREAMS + 2, child_timeout_ms(child)) <= 0) return;
  for (int i = 0; i < CHILD_STREAMS; i++) {
    if (polled[i].revents == 0) continue;
    if (child->streams[i].have > 0) {
      stream_write(&child->streams[i]);
    } else {
      stream_read(child, (enum child_stream)i);
    }
  }
  if (polled[CHILD_STREAMS].revents != 0) child_take_signal(child);
  if (polled[CHILD_STREAMS + 1].revents != 0) child_take_loss(child);
}

int child_run(const struct child_order *order, struct child_outcome *outcome) {
  memset(outcome, 0, sizeof *outcome);
  struct child child = {.order = order, .outcome = outcome, .lost = order->lost, .kill_at_ms = -1};
  sigset_t taken, before;
  sigemptyset(&taken);
  sigaddset(&taken, SIGCHLD);
  for (size_t i = 0; i < sizeof FORWARDED / sizeof FORWARDED[0]; i++) {
    sigaddset(&taken, FORWARDED[i]);
  }
  child.sigpipe_before = signal(SIGPIPE, SIG_IGN);
  signal(SIGCHLD, SIG_DFL); /* a parent that ignored it would leave nothing to wait for */
  sigprocmask(SIG_BLOCK, &taken, &before);
  child.signals = signalfd(-1, &taken, SFD_CLOEXEC);
  if (child.signals < 0) return -errno;
  /* On a terminal the command stays in the foreground group, so that it can read from it. */
  child.own_group = !isatty(STDIN_FILENO);
  child.streams[CHILD_STDOUT].to = STDOUT_FILENO;
  child.streams[CHILD_STDERR].to = STDERR_FILENO;
  int result = child_start(&child, &before);
  while (result == 0 && child_busy(&child)) child_turn(&child);
  for (int i = 0; result == 0 && i < CHILD_STREAMS; i++) {
    if (child.streams[i].from >= 0) stream_close(&child.streams[i]);
  }
  close(child.signals);
  return result;
}

void child_outcome_deinit(struct child_outcome *outcome) {
  for (int i = 0; i < CHILD_STREAMS; i++) free(outcome->record[i].data);
  memset(outcome, 0, sizeof *outcome);
}
