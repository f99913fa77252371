/*
 * once.c - the program idem-once: runs a command at most once for a key, whoever asks and wherever;
 * replays it otherwise.
 *
 * A user of libidem like any other: it knows idem.h alone. Invariants: the command is started only
 * under a claim (or with --fail-open); every outcome that is not the command's own is said on
 * stderr with "idem-once:" before it; what is replayed is what the command wrote, byte for byte.
 *
 * The record: body = what went to stdout, then what went to stderr; meta = RECORD_FORMAT.
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

#include "client/idem.h"
#include "client/once/child.h"

#define DEFAULT_URL "redis://127.0.0.1:4336"
#define DEFAULT_WAIT_MS 60000
/* A TTL is judged when the outcome is stored, which is too late to refuse it: no server takes a
 * longer one than this. */
#define TTL_MAX_MS (31 * INT64_C(86400000))
#define STORE_TRIES 12 /* each of them takes up to the library's deadline, 5 s */
#define RECORD_FORMAT "idem-once 1 status %d stdout %zu stderr %zu missed %zu"
#define RECORD_BYTES 160
#define EXIT_UNKNOWN 79 /* the first one that sysexits.h leaves free */
#define EXIT_NOT_FOUND 127
#define EXIT_NOT_STARTED 126

struct settings {
  const char *url, *key;
  int64_t lease_ms, wait_ms, ttl_ms;
  int hold, takeover, check_command, retry_failed, kill_on_loss, fail_open, verbose;
  char **command;
};

/* ---- the command line ---- */

static const char USAGE[] =
    "usage: idem-once [--server URL] --key K [--lease 30s] [--wait 1m] [--ttl 1d] [option ...]\n"
    "                 [--] command [argument ...]\n"
    "Runs the command unless it has run under this key before; then it repeats its output and\n"
    "exit status. While it runs elsewhere, waits.\n"
    "\n"
    "  --server URL     redis://[user:password@]host[:port], rediss://..., unix:///path\n"
    "                   [$IDEM_SERVER_URL, else " DEFAULT_URL
    "]\n"
    "  --key K          names the work: the same K on all machines\n"
    "  --lease TIME     a machine that is silent for so long is given up [the server's, 60s]\n"
    "  --wait TIME      how long to wait for the one that runs it; 0 does not wait [1m]\n"
    "  --ttl TIME       how long the outcome is kept, at most 31d [the server's, 24h]\n"
    "  --hold           if the machine dies in the middle, nobody runs it again (exit 79)\n"
    "  --takeover       run it after such a death: you have found out that it may\n"
    "  --check-command  refuse (exit 65) when the key was used for another command line\n"
    "  --retry-failed   a status other than 0 is told to those who wait, but not kept\n"
    "  --kill-on-loss   stop the command when another one may have taken over\n"
    "  --fail-open      run unprotected when the server cannot be reached\n"
    "  -v, --verbose    say on stderr what is done\n"
    "  -h, --help       -V, --version\n"
    "TIME is a number with ms, s, m, h or d behind it, or 0.\n"
    "Exit status: the command's own, or 64 usage, 65 another command, 75 busy or unavailable,\n"
    "76 not a record of idem-once, 78 refused, 79 unknown, 126, 127 not started. See "
    "idem-once(1).\n";

static _Noreturn void refuse_usage(const char *what, const char *value) {
  fprintf(stderr, "idem-once: %s%s%s\nTry: idem-once --help\n", what, value != NULL ? ": " : "",
          value != NULL ? value : "");
  exit(EX_USAGE);
}

/* A number without a unit is refused: the server would take it for milliseconds, sleep(1) for
 * seconds. */
static int64_t duration_ms(const char *text) {
  static const struct {
    const char *name;
    int64_t ms;
  } units[] = {{"ms", 1}, {"s", 1000}, {"m", 60000}, {"h", 3600000}, {"d", 86400000}};
  char *unit;
  errno = 0;
  long long number = strtoll(text, &unit, 10);
  if (text[0] < '0' || text[0] > '9' || errno != 0) refuse_usage("not a duration", text);
  if (number == 0 && *unit == '\0') return 0;
  for (size_t i = 0; i < sizeof units / sizeof units[0]; i++) {
    if (strcmp(unit, units[i].name) != 0) continue;
    if (number > INT_MAX / 1000) refuse_usage("too long", text);
    return number * units[i].ms;
  }
  refuse_usage("not a duration (30s, 5m, 1d)", text);
}

enum { OPTION_SERVER = 256, OPTION_KEY, OPTION_LEASE, OPTION_WAIT, OPTION_TTL };

static void settings_take(struct settings *settings, int option) {
  switch (option) {
    case 0: break; /* a flag */
    case OPTION_SERVER: settings->url = optarg; break;
    case OPTION_KEY: settings->key = optarg; break;
    case OPTION_LEASE:
      settings->lease_ms = duration_ms(optarg);
      if (settings->lease_ms == 0) refuse_usage("a lease of 0", NULL);
      break;
    case OPTION_WAIT:
      settings->wait_ms = duration_ms(optarg);
      if (settings->wait_ms == 0) settings->wait_ms = IDEM_NO_WAIT;
      break;
    case OPTION_TTL:
      settings->ttl_ms = duration_ms(optarg);
      if (settings->ttl_ms == 0) refuse_usage("a ttl of 0", NULL);
      if (settings->ttl_ms > TTL_MAX_MS) refuse_usage("a ttl over 31d", optarg);
      break;
    case 'v': settings->verbose = 1; break;
    case 'h': fputs(USAGE, stdout); exit(0);
    case 'V': printf("idem-once %s\n", idem_version()); exit(0);
    default: fputs("Try: idem-once --help\n", stderr); exit(EX_USAGE);
  }
}

static void settings_parse(struct settings *settings, int argc, char **argv) {
  const char *url = getenv("IDEM_SERVER_URL");
  *settings = (struct settings){.url = url != NULL && *url != '\0' ? url : DEFAULT_URL,
                                .wait_ms = DEFAULT_WAIT_MS};
  const struct option options[] = {
      {"server", required_argument, NULL, OPTION_SERVER},
      {"key", required_argument, NULL, OPTION_KEY},
      {"lease", required_argument, NULL, OPTION_LEASE},
      {"wait", required_argument, NULL, OPTION_WAIT},
      {"ttl", required_argument, NULL, OPTION_TTL},
      {"hold", no_argument, &settings->hold, 1},
      {"takeover", no_argument, &settings->takeover, 1},
      {"check-command", no_argument, &settings->check_command, 1},
      {"retry-failed", no_argument, &settings->retry_failed, 1},
      {"kill-on-loss", no_argument, &settings->kill_on_loss, 1},
      {"fail-open", no_argument, &settings->fail_open, 1},
      {"verbose", no_argument, NULL, 'v'},
      {"help", no_argument, NULL, 'h'},
      {"version", no_argument, NULL, 'V'},
      {NULL, 0, NULL, 0},
  };
  int option;
  /* '+': the options end where the command begins. */
  while ((option = getopt_long(argc, argv, "+vhV", options, NULL)) != -1) {
    settings_take(settings, option);
  }
  if (settings->key == NULL || *settings->key == '\0') refuse_usage("--key is missing", NULL);
  if (optind == argc) refuse_usage("there is no command", NULL);
  settings->command = argv + optind;
}

/* ---- an outcome from elsewhere ---- */

/* 0, or -errno. */
static int write_all(int to, const char *data, size_t len) {
  while (len > 0) {
    ssize_t put = write(to, data, len);
    if (put < 0 && errno == EINTR) continue;
    if (put < 0) return -errno;
    data += put;
    len -= (size_t)put;
  }
  return 0;
}

static int replay(const struct settings *settings, const struct idem_answer *answer) {
  int status;
  size_t out, err, missed;
  const char *meta = answer->meta.data;
  if (meta == NULL || sscanf(meta, RECORD_FORMAT, &status, &out, &err, &missed) != 4 ||
      status < 0 || status > 255 || out > answer->body.len || err != answer->body.len - out) {
    fprintf(stderr, "idem-once: key %s: a result is stored, but not one of idem-once\n",
            settings->key);
    return EX_PROTOCOL;
  }
  if (settings->verbose) {
    fprintf(stderr, "idem-once: key %s: replayed, ran %" PRId64 " ms ago\n", settings->key,
            answer->age_ms);
  }
  signal(SIGPIPE, SIG_IGN); /* a reader that has gone does not change the status */
  const char *body = answer->body.data;
  int result = write_all(STDOUT_FILENO, body, out);
  if (result == 0) result = write_all(STDERR_FILENO, body + out, err);
  if (result != 0 && result != -EPIPE) {
    fprintf(stderr, "idem-once: cannot write: %s\n", strerror(-result));
  }
  if (missed > 0) {
    fprintf(stderr, "idem-once: %zu more bytes of its output were not recorded\n", missed);
  }
  return status;
}

/* Bytes that somebody else chose, on what may be a terminal. */
static void print_plainly(struct idem_bytes bytes) {
  const unsigned char *byte = bytes.data;
  for (size_t i = 0; i < bytes.len; i++) {
    putc(byte[i] > ' ' && byte[i] < 0x7f ? byte[i] : '?', stderr);
  }
}

/* The answers that are neither RUN nor REPLAY. */
static int explain(const struct settings *settings, const struct idem_answer *answer) {
  static const struct {
    enum idem_status status;
    int exit_status;
    const char *text;
  } endings[] = {
      {IDEM_BUSY, EX_TEMPFAIL, "it still runs elsewhere"},
      {IDEM_UNKNOWN, EXIT_UNKNOWN,
       "who ran it vanished, and whether it was done is unknown; find out, then --takeover"},
      {IDEM_MISMATCH, EX_DATAERR,
       "the key was used for another command line, or without --check-command"},
      {IDEM_UNAVAILABLE, EX_TEMPFAIL, "the server cannot be asked; nothing was run"},
      {IDEM_NO_MEMORY, EX_TEMPFAIL, "out of memory; nothing was run"},
      {IDEM_TOOBIG, EX_USAGE, "the key is too long"},
      {IDEM_REFUSED, EX_CONFIG, "the server refuses"},
      {IDEM_INVALID, EX_USAGE, "not a request that can be made"}, /* and whatever else */
  };
  size_t i = 0;
  while (i + 1 < sizeof endings / sizeof endings[0] && endings[i].status != answer->status) i++;
  fprintf(stderr, "idem-once: key %s: %s", settings->key, endings[i].text);
  if (answer->owner.len > 0) {
    fputs(" (by ", stderr);
    print_plainly(answer->owner);
    fputs(")", stderr);
  }
  fprintf(stderr, "%s%s\n", answer->message[0] != '\0' ? ": " : "", answer->message);
  return endings[i].exit_status;
}

/* ---- running it ---- */

/* From the library's thread: the loop of the command does the rest. */
static void tell_loss(struct idem_claim *claim, enum idem_claim_state state, void *context) {
  const int *loss = context;
  (void)claim;
  char byte = (char)state;
  if (write(*loss, &byte, 1) < 0) return; /* full: it has been told often enough */
}

/* For the command: what it writes to can refuse a token lower than one that it has seen. */
static void export_claim(const struct idem_claim *claim) {
  char number[32];
  unsetenv("IDEM_TOKEN");
  unsetenv("IDEM_ATTEMPT");
  if (claim == NULL) return;
  snprintf(number, sizeof number, "%" PRIu64, idem_claim_token(claim));
  setenv("IDEM_TOKEN", number, 1);
  snprintf(number, sizeof number, "%" PRId64, idem_claim_attempt(claim));
  setenv("IDEM_ATTEMPT", number, 1);
}

/* Body and meta of the record; the body is in the record of stdout, which grows. 0, or -ENOMEM. */
static int pack(struct child_outcome *outcome, char meta[RECORD_BYTES],
                struct idem_result *result) {
  struct child_record *out = &outcome->record[CHILD_STDOUT];
  const struct child_record *err = &outcome->record[CHILD_STDERR];
  snprintf(meta, RECORD_BYTES, RECORD_FORMAT, outcome->exit_status, out->len, err->len,
           outcome->missed);
  result->meta = idem_text(meta);
  if (err->len > 0) {
    char *both = realloc(out->data, out->len + err->len);
    if (both == NULL) return -ENOMEM;
    memcpy(both + out->len, err->data, err->len);
    out->data = both;
  }
  result->body = idem_data(out->data != NULL ? out->data : "", out->len + err->len);
  return 0;
}

/* For as long as nobody else can have been granted the claim. */
static enum idem_status finish_patiently(struct idem_claim *claim,
                                         const struct idem_result *result) {
  enum idem_status status = idem_finish(claim, result);
  for (int try = 1; try < STORE_TRIES && status == IDEM_UNAVAILABLE; try++) {
    if (idem_claim_state(claim) != IDEM_CLAIM_HELD) break;
    status = idem_finish(claim, result);
  }
  return status;
}

/* That it has run is worth more than what it wrote: without a record the next one would run it
 * again. */
static enum idem_status store(const struct settings *settings, struct idem_claim *claim,
                              struct child_outcome *outcome) {
  char meta[RECORD_BYTES];
  struct idem_result result = {0};
  if (settings->retry_failed && outcome->exit_status != 0) {
    result.uncached = 1;
  } else {
    result.ttl_ms = settings->ttl_ms;
  }
  size_t written = outcome->record[CHILD_STDOUT].len + outcome->record[CHILD_STDERR].len;
  enum idem_status status = IDEM_TOOBIG;
  if (pack(outcome, meta, &result) == 0) status = finish_patiently(claim, &result);
  if (status != IDEM_TOOBIG) return status;
  fprintf(stderr,
          "idem-once: key %s: the output is too long for the server: only the status is"
          " recorded\n",
          settings->key);
  snprintf(meta, sizeof meta, RECORD_FORMAT, outcome->exit_status, (size_t)0, (size_t)0,
           written + outcome->missed);
  result.meta = idem_text(meta);
  result.body = idem_text("");
  return finish_patiently(claim, &result);
}

static int give_back(const struct settings *settings, struct idem_claim *claim, int error) {
  fprintf(stderr, "idem-once: cannot run %s: %s\n", settings->command[0], strerror(error));
  if (claim != NULL && idem_abandon(claim) != IDEM_OK) {
    fprintf(stderr, "idem-once: key %s: not given back, its lease runs on: %s\n", settings->key,
            idem_claim_message(claim));
  }
  return error == ENOENT ? EXIT_NOT_FOUND : EXIT_NOT_STARTED;
}

/* claim is NULL when it runs unprotected. */
static int run(const struct settings *settings, struct idem_claim *claim, int lost) {
  struct child_outcome outcome;
  struct child_order order = {settings->command, lost, settings->kill_on_loss};
  export_claim(claim);
  int error = -child_run(&order, &outcome);
  int exit_status = outcome.exit_status;
  if (error != 0) {
    exit_status = give_back(settings, claim, error);
  } else if (outcome.killed) {
    fprintf(stderr, "idem-once: key %s: the claim was lost, the command was stopped\n",
            settings->key);
    exit_status = EX_TEMPFAIL;
  } else if (claim != NULL) {
    if (outcome.missed > 0) {
      fprintf(stderr, "idem-once: key %s: output over %zu bytes: %zu are not recorded\n",
              settings->key, CHILD_OUTPUT_LIMIT_BYTES, outcome.missed);
    }
    enum idem_status status = store(settings, claim, &outcome);
    if (status != IDEM_OK) {
      fprintf(stderr, "idem-once: key %s: it ran here, but that is NOT recorded (%s)%s%s\n",
              settings->key, idem_status_name(status), *idem_claim_message(claim) ? ": " : "",
              idem_claim_message(claim));
    }
  }
  child_outcome_deinit(&outcome);
  return exit_status;
}

/* Absent when the command lines need not agree. No argument has a NUL inside, so no two lines give
 * the same bytes. */
static int fingerprint_command(const struct settings *settings,
                               struct idem_fingerprint *fingerprint) {
  struct idem_http_request line = {.method = idem_text("EXEC"), .digest = IDEM_XXH3_128};
  size_t len = 0;
  fingerprint->len = 0;
  if (!settings->check_command) return 0;
  for (char **word = settings->command; *word != NULL; word++) len += strlen(*word) + 1;
  char *all = malloc(len);
  if (all == NULL) return -ENOMEM;
  char *end = all;
  for (char **word = settings->command; *word != NULL; word++) end = stpcpy(end, *word) + 1;
  line.body = idem_data(all, len);
  enum idem_status status = idem_fingerprint(&line, fingerprint);
  free(all);
  return status == IDEM_OK ? 0 : -ENOMEM;
}

static int ask_and_run(const struct settings *settings, struct idem_client *client, int lost) {
  struct idem_fingerprint fingerprint;
  struct idem_claim *claim = NULL;
  struct idem_answer answer = {0};
  struct idem_request request = {0};
  if (fingerprint_command(settings, &fingerprint) != 0) {
    fprintf(stderr, "idem-once: out of memory; nothing was run\n");
    return EX_TEMPFAIL;
  }
  request.key = idem_text(settings->key);
  if (fingerprint.len > 0) request.fingerprint = idem_data(fingerprint.bytes, fingerprint.len);
  request.lease_ms = settings->lease_ms;
  request.wait_ms = settings->wait_ms;
  request.flags = (settings->hold ? (unsigned)IDEM_HOLD : 0) |
                  (settings->takeover ? (unsigned)IDEM_TAKEOVER : 0);
  enum idem_status status = idem_begin(client, &request, &claim, &answer);
  int exit_status;
  if (status == IDEM_RUN) {
    if (settings->verbose) {
      fprintf(stderr, "idem-once: key %s: runs, attempt %" PRId64 "\n", settings->key,
              answer.attempt);
    }
    exit_status = run(settings, claim, lost);
  } else if (status == IDEM_REPLAY) {
    exit_status = replay(settings, &answer);
  } else if (status == IDEM_UNAVAILABLE && settings->fail_open) {
    fprintf(stderr, "idem-once: key %s: runs unprotected: %s\n", settings->key, answer.message);
    exit_status = run(settings, NULL, lost);
  } else {
    exit_status = explain(settings, &answer);
  }
  idem_claim_free(claim);
  idem_answer_clear(&answer);
  return exit_status;
}

/* A descriptor that is opened later must not become the command's stdin, stdout or stderr. */
static void fill_standard_descriptors(void) {
  int null;
  do null = open("/dev/null", O_RDWR);
  while (null >= 0 && null <= STDERR_FILENO);
  if (null >= 0) close(null);
}

int main(int argc, char **argv) {
  struct settings settings;
  char host[HOST_NAME_MAX + 1] = "";
  int loss[2];
  fill_standard_descriptors();
  settings_parse(&settings, argc, argv);
  if (pipe2(loss, O_CLOEXEC | O_NONBLOCK) != 0) {
    fprintf(stderr, "idem-once: %s\n", strerror(errno));
    return EX_OSERR;
  }
  gethostname(host, sizeof host - 1);
  const struct idem_options options = {
      .name = host, .on_lost = tell_loss, .lost_context = &loss[1]};
  struct idem_client *client;
  struct idem_error error;
  enum idem_status status = idem_open(settings.url, &options, &client, &error);
  if (status != IDEM_OK) {
    fprintf(stderr, "idem-once: %s\n", error.text);
    return status == IDEM_INVALID ? EX_USAGE : EX_CONFIG;
  }
  int exit_status = ask_and_run(&settings, client, loss[0]);
  idem_close(client);
  return exit_status;
}
