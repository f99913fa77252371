/*
 * child.c - one poll loop over the command's streams, its signals and the loss of the claim.
 *
 * Stopping (Ctrl-Z, or kill -TSTP): the signal is passed on, and when the command has stopped this
 * process stops too, the library's renewals with it. When it is continued it renews the claim first
 * and continues the command then. A command that ignores the signal runs on, and so do the
 * renewals.
 */
#include "client/once/child.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static const int FORWARDED[] = {SIGTERM, SIGINT,  SIGHUP,   SIGQUIT, SIGUSR1, SIGUSR2,
                                SIGALRM, SIGCONT, SIGWINCH, SIGTSTP, SIGTTIN, SIGTTOU};

struct child {
  const struct child_order *order;
  struct child_outcome *outcome;
  pid_t pid;
  bool own_group;  /* signals go to its process group */
  bool stop_asked; /* the command got a SIGTSTP that it does not ignore */
  int stopped_by;  /* the signal that the command stands still for; 0: it runs */
  bool ended;
  int signals;        /* signalfd, does not block */
  int lost;           /* copy of the order's, -1 when there is nothing more to read */
  int64_t kill_at_ms; /* -1: never */
  void (*sigpipe_before)(int);
};

static int64_t now_ms(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
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
  if (child->own_group)
    setpgid(child->pid, child->pid); /* here as well: the first one to run does it */
  close(report[1]);
  report[1] = -1;
  result = await_exec(child, report[0]);
  if (result != 0) goto done;
  output_attach(&child->outcome->output, out[0], err[0]);
  out[0] = err[0] = -1;

done:
  close_pair(out);
  close_pair(err);
  close_pair(report);
  return result;
}

/* ---- while it runs ---- */

static void child_lose(struct child *child) {
  if (!child->order->kill_when_lost || child->outcome->killed || child->ended) return;
  child->outcome->killed = true;
  child_signal_all(child, SIGTERM);
  child_signal_all(child, SIGCONT);
  child->kill_at_ms = now_ms() + CHILD_KILL_GRACE_MS;
}

/* SIGSTOP, because a SIGTSTP stops no process whose group has no shell above it. */
static void stop_here(void) {
  sigset_t pending;
  if (sigpending(&pending) == 0 && sigismember(&pending, SIGCONT) == 1) return;
  raise(SIGSTOP);
}

/* The command has stopped: so does this process, until it is continued. In one process group the
 * command was continued as well: it is stopped again until the claim is renewed. */
static void child_suspend(struct child *child) {
  const struct child_order *order = child->order;
  stop_here();
  child_signal_all(child, SIGSTOP);
  if (order->renew != NULL && !order->renew(order->context)) child_lose(child);
  child_signal_all(child, SIGCONT);
  child->stop_asked = false;
  child->stopped_by = 0;
}

static void child_reap(struct child *child) {
  int status;
  while (!child->ended &&
         waitpid(child->pid, &status, WNOHANG | WUNTRACED | WCONTINUED) == child->pid) {
    child->stopped_by = WIFSTOPPED(status) ? WSTOPSIG(status) : 0;
    if (WIFSTOPPED(status) || WIFCONTINUED(status)) continue;
    child->ended = true;
    child->outcome->ended_by = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
    child->outcome->exit_status =
        WIFEXITED(status) ? WEXITSTATUS(status) : 128 + child->outcome->ended_by;
    output_end(&child->outcome->output);
  }
}

static bool child_next_signal(const struct child *child, struct signalfd_siginfo *info) {
  return read(child->signals, info, sizeof *info) == (ssize_t)sizeof *info;
}

/* Now, as the kernel sees it: a command may change that at any time. */
static bool child_ignores(const struct child *child, int number) {
  char path[32], line[128];
  unsigned long long ignored = 0;
  snprintf(path, sizeof path, "/proc/%d/status", (int)child->pid);
  FILE *status = fopen(path, "re");
  if (status == NULL) return false;
  while (fgets(line, sizeof line, status) != NULL && sscanf(line, "SigIgn: %llx", &ignored) != 1) {
    continue;
  }
  fclose(status);
  return (ignored >> (number - 1) & 1) != 0;
}

/* Which signal stops the command does not tell whether it answers a SIGTSTP: many put their
 * terminal in order and then send themselves SIGSTOP. So what it ignores is not asked of it. */
static void child_forward(struct child *child, const struct signalfd_siginfo *info) {
  if (info->ssi_signo == SIGTSTP) child->stop_asked = !child_ignores(child, SIGTSTP);
  if (info->ssi_signo == SIGCONT) child->stop_asked = false;
  /* A terminal has sent its Ctrl-C to the whole foreground group: the command has it already if it
   * is of ours. */
  if (info->ssi_code == SI_KERNEL && !child->own_group) return;
  child_signal_all(child, (int)info->ssi_signo);
}

/* A command that was stopped alone is still ours to run, and its claim is renewed; but a job that
 * is stopped, or waits for its terminal, stops as a whole. */
static void child_take_signal(struct child *child) {
  struct signalfd_siginfo info;
  if (!child_next_signal(child, &info)) return;
  if (info.ssi_signo == SIGCHLD) {
    child_reap(child);
  } else {
    child_forward(child, &info);
  }
  int by = child->stopped_by;
  if (by == SIGTTIN || by == SIGTTOU || (by != 0 && child->stop_asked)) child_suspend(child);
}

/* A command that has ended before it could be stopped has done its work. */
static void child_take_loss(struct child *child) {
  char byte;
  if (read(child->lost, &byte, 1) <= 0) child->lost = -1;
  child_reap(child);
  child_lose(child);
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
  struct pollfd polled[OUTPUT_POLLED + 2];
  output_want(&child->outcome->output, polled);
  polled[OUTPUT_POLLED] = (struct pollfd){.fd = child->signals, .events = POLLIN};
  polled[OUTPUT_POLLED + 1] = (struct pollfd){.fd = child->lost, .events = POLLIN};
  if (poll(polled, OUTPUT_POLLED + 2, child_timeout_ms(child)) <= 0) return;
  output_serve(&child->outcome->output, polled);
  if (polled[OUTPUT_POLLED].revents != 0) child_take_signal(child);
  if (polled[OUTPUT_POLLED + 1].revents != 0) child_take_loss(child);
}

/* ---- the whole run ---- */

/* From the foreground of a terminal the command can read from it, whatever its stdin is. */
static bool in_foreground(void) {
  int terminal = open("/dev/tty", O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
  if (terminal < 0) return false;
  bool ours = tcgetpgrp(terminal) == getpgrp();
  close(terminal);
  return ours;
}

static int child_take_signals(struct child *child) {
  sigset_t taken;
  sigemptyset(&taken);
  sigaddset(&taken, SIGCHLD);
  for (size_t i = 0; i < sizeof FORWARDED / sizeof FORWARDED[0]; i++) {
    sigaddset(&taken, FORWARDED[i]);
  }
  child->sigpipe_before = signal(SIGPIPE, SIG_IGN);
  signal(SIGCHLD, SIG_DFL); /* a parent that ignored it would leave nothing to wait for */
  sigprocmask(SIG_BLOCK, &taken, &child->outcome->signals_before);
  child->signals = signalfd(-1, &taken, SFD_CLOEXEC | SFD_NONBLOCK);
  return child->signals < 0 ? -errno : 0;
}

int child_run(const struct child_order *order, struct child_outcome *outcome) {
  struct child child = {.order = order, .outcome = outcome, .lost = order->lost, .kill_at_ms = -1};
  struct signalfd_siginfo late;
  outcome->exit_status = 0;
  outcome->ended_by = 0;
  outcome->killed = false;
  output_init(&outcome->output);
  int result = child_take_signals(&child);
  if (result != 0) return result;
  child.own_group = !order->foreground && !isatty(STDIN_FILENO) && !in_foreground();
  result = child_start(&child, &outcome->signals_before);
  while (result == 0 && output_recording(&outcome->output)) child_turn(&child);
  output_count(&outcome->output);
  /* What came while the command ended was meant for it. */
  while (child_next_signal(&child, &late)) continue;
  close(child.signals);
  return result;
}

void child_pass_on(struct child_outcome *outcome) {
  sigprocmask(SIG_SETMASK, &outcome->signals_before, NULL);
  output_flush(&outcome->output);
}

void child_outcome_deinit(struct child_outcome *outcome) { output_deinit(&outcome->output); }
