/*
 * main.c - wires: options, log, server; runs, drains, leaves.
 *
 * Exit status: 0 after a drain (also one that its deadline cut short, which is logged), a signal
 * that ended the start, --help or --version; 1 when an option is refused, the server cannot start,
 * or --help cannot be written; 74 when the journal cannot be written any more; 78 when it is not
 * sound, and nothing was changed. Of
 * --ping: see ping.h.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "server/base/random.h"
#include "server/commands/metrics_help.h"
#include "server/commands/restoring.h"
#include "server/journal/check.h"
#include "server/journal/salvage.h"
#include "server/net/ping.h"
#include "server/net/server.h"
#include "server/net/tls.h"
#include "server/ops/options_arguments.h"
#include "server/ops/version.h"

/* Read by jemalloc before main. Free memory goes back to the system within about half a second,
 * freed by jemalloc's threads, not by ours: what a mass expiry frees must not stay resident. One
 * arena per core suffices; more loops share them. */
extern const char *malloc_conf;
const char *malloc_conf = "background_thread:true,dirty_decay_ms:500,muzzy_decay_ms:0,narenas:4";

/*
 * Ignores a signal whose default ends the process and that a stray tool, the terminal or the log
 * may send: only TERM and INT end it, and only QUIT and ABRT dump core. XFSZ comes when the log
 * file reaches a limit of file sizes, TTOU when the server logs to a terminal from the background.
 * A handler that was set up before us, a profiler's for example, is left alone. XCPU is not
 * ignored: it is a limit that an operator has set.
 */
static void ignore_signal(int number) {
  struct sigaction action;
  if (sigaction(number, NULL, &action) == 0 && action.sa_handler == SIG_DFL)
    signal(number, SIG_IGN);
}

static void ignore_signals(void) {
  static const int numbers[] = {SIGPIPE, SIGHUP,  SIGUSR1, SIGUSR2,   SIGALRM, SIGVTALRM,
                                SIGPROF, SIGPOLL, SIGPWR,  SIGSTKFLT, SIGXFSZ, SIGTTOU};
  for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) ignore_signal(numbers[i]);
  for (int number = SIGRTMIN; number <= SIGRTMAX; number++) ignore_signal(number);
}

static int serve(struct options *options) {
  char error[REFUSAL_BYTES];
  struct log log;
  int result = log_open(&log, options->logfile, (enum log_level)options->loglevel);
  if (result != 0) {
    fprintf(stderr, "idem-server: cannot open the log file %s: %s\n", options->logfile,
            strerror(-result));
    return 1;
  }
  log.format = (enum log_format)options->log_format;
  log_line(&log, LOG_LEVEL_NOTICE, "idem-server %s", IDEM_VERSION);
  int status = 0;
  struct server *server = server_create(options, &log, &status, error);
  if (server == NULL) {
    log_line(&log, status == 0 ? LOG_LEVEL_NOTICE : LOG_LEVEL_WARNING, "%s", error);
    if (status != 0) fprintf(stderr, "idem-server: %s\n", error);
    log_close(&log);
    if (status == 0) _exit(0); /* see server_create */
    return status;
  }
  server_run(server);
  server_destroy(server);
  log_close(&log);
  return 0;
}

/* The output is what was asked for (--help): if it cannot be written, that is a failure. */
static int finish_printing(void) {
  if (fflush(stdout) == 0 && ferror(stdout) == 0) return 0;
  fprintf(stderr, "idem-server: standard output: %s\n", strerror(errno));
  return 1;
}

/* ---- a journal without a server ---- */

static struct journal_files *open_files(const char *directory, bool write) {
  char error[FILES_ERROR_BYTES];
  struct journal_files *files = files_open(directory, write, error);
  if (files == NULL) fprintf(stderr, "idem-server: %s\n", error);
  return files;
}

static int check(const char *directory) {
  struct journal_files *files = open_files(directory, false);
  if (files == NULL) return 1;
  int status = restoring_status(check_journal(files, stdout));
  files_close(files);
  return finish_printing() != 0 ? 1 : status;
}

static int salvage(const char *directory, const char *to_directory) {
  unsigned char id[JOURNAL_ID_BYTES];
  struct journal_files *files = open_files(directory, false);
  struct journal_files *to = files != NULL ? open_files(to_directory, true) : NULL;
  int status = 1;
  if (to != NULL && random_get(id, sizeof id))
    status = restoring_status(salvage_journal(files, to, id, stdout));
  files_close(to);
  files_close(files);
  return finish_printing() != 0 ? 1 : status;
}

/* False: the arguments are those of a server. */
static bool look_after_journal(int argc, char **argv, int *status) {
  if (argc < 2) return false;
  bool checks = strcmp(argv[1], "--check-journal") == 0;
  bool salvages = strcmp(argv[1], "--salvage") == 0;
  if (!checks && !salvages) return false;
  if (argc != (checks ? 3 : 4)) {
    fprintf(stderr, "idem-server: %s needs %s, and nothing else\n", argv[1],
            checks ? "DIR" : "DIR and TO, a directory for the new journal");
    *status = 1;
  } else {
    *status = checks ? check(argv[2]) : salvage(argv[2], argv[3]);
  }
  return true;
}

/* ---- a question to another server ---- */

#define ARGUMENTS_MAX 256

/* Takes "--ping [URL]" out of the arguments; false: it is not among them. *url: NULL without one.
 */
static bool take_ping(int *argc, char **argv, char *rest[ARGUMENTS_MAX], const char **url) {
  int at = 1, count = 0;
  while (at < *argc && strcmp(argv[at], "--ping") != 0) at++;
  if (at >= *argc || *argc > ARGUMENTS_MAX) return false;
  bool named = at + 1 < *argc && strncmp(argv[at + 1], "--", 2) != 0;
  *url = named ? argv[at + 1] : NULL;
  for (int i = 0; i < *argc; i++)
    if (i != at && !(named && i == at + 1)) rest[count++] = argv[i];
  *argc = count;
  return true;
}

/* False: the arguments are those of a server. */
static bool ping(int argc, char **argv, int *status) {
  char *rest[ARGUMENTS_MAX];
  const char *url;
  if (!take_ping(&argc, argv, rest, &url)) return false;
  struct options options;
  struct ping_target target;
  char error[REFUSAL_BYTES];
  options_init(&options);
  options.keeps_password = true;
  *status = 1;
  if (!options_arguments_parse(&options, argc, rest, error) ||
      !(url != NULL ? ping_target_of_url(url, &options, &target, error)
                    : ping_target_of_options(&options, &target, error))) {
    fprintf(stderr, "idem-server: %s\n", error);
  } else {
    *status = (int)ping_run(&target, &options);
  }
  options_deinit(&options);
  return true;
}

/* --help metrics */
static bool print_metrics(int argc, char **argv) {
  if (argc != 3 || strcmp(argv[1], "--help") != 0 || strcmp(argv[2], "metrics") != 0) return false;
  metrics_help_print(stdout);
  return true;
}

int main(int argc, char **argv) {
  ignore_signals();
  tls_begin();
  if (print_metrics(argc, argv)) return finish_printing();
  if (options_arguments_print(argc, argv, stdout)) return finish_printing();
  int status = 1;
  if (look_after_journal(argc, argv, &status) || ping(argc, argv, &status)) return status;
  struct options options;
  char error[REFUSAL_BYTES];
  options_init(&options);
  if (options_arguments_parse(&options, argc, argv, error)) {
    status = serve(&options);
  } else {
    fprintf(stderr, "idem-server: %s\n", error);
  }
  options_deinit(&options);
  return status;
}
