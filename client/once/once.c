/*
 * once.c - the program idem-once: runs a command at most once for a key, whichever process
 * and machine asks; replays it otherwise.
 *
 * A user of libidem like any other: it knows idem.h alone (and options.c, where a password ends in
 * a URL). Invariants: the command is started only under a claim (or with --fail-open); its outcome
 * is stored before its output has to be read; a command that was ended from outside may have done
 * something, and the server is told so; every outcome that is not the command's own is said
 * on stderr with "idem-once:" before it; what is replayed is what the command wrote, byte for byte.
 *
 * The record: body = what went to stdout, then what went to stderr; meta = RECORD_FORMAT.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <time.h>
#include <unistd.h>

#include "client/idem.h"
#include "client/once/child.h"
#include "client/once/options.h"
#include "client/once/say.h"

/* Each of them takes up to the library's deadline, 5 s. A server whose disk is full (-MISCONF) says
 * so at once, and may have room a moment later. */
#define STORE_TRIES 12
#define STORE_PAUSE_MS 1000
#define RECORD_FORMAT "idem-once 1 status %d stdout %zu stderr %zu missed %zu"
#define RECORD_BYTES 160
/* A record has OUTPUT_RECORD_BYTES at most; of other programs' results only that they are none
 * counts. */
#define REPLY_LIMIT_BYTES (2 * OUTPUT_RECORD_BYTES)
#define OWNER_BYTES 128 /* the server's default limit */
/* Room for a token and an owner. */
#define DETAILS_BYTES (sizeof " 9007199254740992 (by )" + OWNER_BYTES)
#define EXIT_UNKNOWN 79 /* the first one that sysexits.h leaves free */
#define EXIT_FORGOTTEN 80
#define EXIT_NOT_FOUND 127
#define EXIT_NOT_STARTED 126

/* ---- writing ---- */

/* Output that was lost makes a success a failure; a failure stays what it is. */
static int check_output(const struct options *options, const char *name, int error,
                        int exit_status) {
  if (error == 0) return exit_status;
  say(options->key, "%s: %s", name, strerror(error));
  return exit_status == 0 ? EX_IOERR : exit_status;
}

/* ---- an outcome from elsewhere ---- */

static int replay(const struct options *options, const struct idem_answer *answer) {
  int status;
  size_t out, err, missed;
  const char *meta = answer->meta.data, *body = answer->body.data;
  if (meta == NULL || sscanf(meta, RECORD_FORMAT, &status, &out, &err, &missed) != 4 ||
      status < 0 || status > 255 || out > answer->body.len || err != answer->body.len - out) {
    say(options->key, "a result is stored, but not one of idem-once");
    return EX_PROTOCOL;
  }
  if (options->verbose) say(options->key, "replayed, ran %" PRId64 " ms ago", answer->age_ms);
  /* A reader that has gone is told like any other that does not take it. */
  signal(SIGPIPE, SIG_IGN);
  int out_error = -output_put(STDOUT_FILENO, body, out);
  if (out_error == 0 && out > 0 && close(STDOUT_FILENO) != 0) out_error = errno;
  int err_error = -output_put(STDERR_FILENO, body + out, err);
  if (missed > 0) say(options->key, "%zu more bytes of its output were not recorded", missed);
  status = check_output(options, "standard output", out_error, status);
  return check_output(options, "standard error", err_error, status);
}

/* What the answer has beside its text: the token to take over with, who owned it. */
static void describe(const struct idem_answer *answer, char out[DETAILS_BYTES]) {
  size_t len = 0;
  out[0] = '\0';
  if (answer->status == IDEM_UNKNOWN)
    len = (size_t)snprintf(out, DETAILS_BYTES, " %" PRIu64, answer->token);
  if (answer->owner.len == 0) return;
  snprintf(out + len, DETAILS_BYTES - len, " (by %.*s)", (int)answer->owner.len,
           (const char *)answer->owner.data);
}

/* The answers that are neither RUN nor REPLAY. */
static int explain(const struct options *options, const struct idem_answer *answer) {
  static const struct {
    enum idem_status status;
    int exit_status;
    const char *text;
  } endings[] = {
      {IDEM_BUSY, EX_TEMPFAIL, "it still runs elsewhere"},
      {IDEM_UNKNOWN, EXIT_UNKNOWN,
       "whether it was done is unknown, and nothing was run; find out, then --takeover"},
      {IDEM_FORGOTTEN, EXIT_FORGOTTEN,
       "an earlier run may have been forgotten, and nothing was run; find out, then without "
       "--born"},
      {IDEM_MISMATCH, EX_DATAERR,
       "the key was used for another command line, or without --check-command"},
      {IDEM_UNAVAILABLE, EX_TEMPFAIL, "the server cannot be asked; nothing was run"},
      {IDEM_NO_MEMORY, EX_TEMPFAIL, "out of memory; nothing was run"},
      {IDEM_TOOBIG, EX_USAGE, "the key is too long"},
      {IDEM_REFUSED, EX_CONFIG, "the server refuses"},
      {IDEM_INVALID, EX_USAGE, "not a request that can be made"}, /* and whatever else */
  };
  char details[DETAILS_BYTES];
  size_t i = 0;
  while (i + 1 < sizeof endings / sizeof endings[0] && endings[i].status != answer->status) i++;
  describe(answer, details);
  say(options->key, "%s%s%s%s", endings[i].text, details, answer->message[0] != '\0' ? ": " : "",
      answer->message);
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

/* The environment of the command has its places before the library has threads: one of them may
 * read it (getaddrinfo does) while export_claim fills them, and the table must not move then. */
static bool prepare_environment(void) {
  options_hide_password();
  return setenv("IDEM_TOKEN", "", 1) == 0 && setenv("IDEM_ATTEMPT", "", 1) == 0;
}

/* For the command: what it writes to can refuse a token lower than one that it has seen. */
static void export_claim(const struct idem_claim *claim) {
  char number[32];
  if (claim == NULL) {
    unsetenv("IDEM_TOKEN");
    unsetenv("IDEM_ATTEMPT");
    return;
  }
  snprintf(number, sizeof number, "%" PRIu64, idem_claim_token(claim));
  setenv("IDEM_TOKEN", number, 1);
  snprintf(number, sizeof number, "%" PRId64, idem_claim_attempt(claim));
  setenv("IDEM_ATTEMPT", number, 1);
}

/* Body and meta of the record; the body is in the record of stdout, which grows. 0, or -ENOMEM. */
static int pack(struct child_outcome *outcome, char meta[RECORD_BYTES],
                struct idem_result *result) {
  struct output_record *out = &outcome->output.streams[OUTPUT_STDOUT].record;
  const struct output_record *err = &outcome->output.streams[OUTPUT_STDERR].record;
  snprintf(meta, RECORD_BYTES, RECORD_FORMAT, outcome->exit_status, out->len, err->len,
           outcome->output.missed);
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

static void sleep_ms(int ms) {
  struct timespec left = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000L};
  while (nanosleep(&left, &left) != 0 && errno == EINTR) continue;
}

/* Only for as long as no other client can have been granted the claim. */
static enum idem_status finish_with_retries(const struct options *options,
                                            struct idem_claim *claim,
                                            const struct idem_result *result) {
  enum idem_status status = idem_finish(claim, result);
  for (int try = 1; try < STORE_TRIES && status == IDEM_UNAVAILABLE; try++) {
    if (idem_claim_state(claim) != IDEM_CLAIM_HELD) break;
    if (try == 1)
      say(options->key, "it ran here; that is not recorded yet: %s", idem_claim_message(claim));
    sleep_ms(STORE_PAUSE_MS);
    status = idem_finish(claim, result);
  }
  return status;
}

/* How the outcome is to be kept. */
static struct idem_result describe_result(const struct options *options, int exit_status) {
  if (exit_status != 0 && options->failed_did_nothing)
    return (struct idem_result){.uncached = IDEM_RELEASE_NOTHING};
  if (exit_status != 0 && options->retry_failed)
    return (struct idem_result){.uncached = IDEM_RELEASE_UNSURE};
  return (struct idem_result){.ttl_ms = options->ttl_ms};
}

/* Whether to store the status alone: the output is too long for the server, or for the room that it
 * has left. Without an answer the output may have been stored; then the status alone is a conflict,
 * and the output stays. */
static bool gives_up_output(const struct idem_claim *claim, const struct idem_result *result,
                            enum idem_status status) {
  if (status == IDEM_TOOBIG) return true;
  return status == IDEM_UNAVAILABLE && result->body.len > 0 &&
         idem_claim_state(claim) == IDEM_CLAIM_HELD;
}

static enum idem_status store_status(const struct options *options, struct idem_claim *claim,
                                     const struct child_outcome *outcome,
                                     struct idem_result *result) {
  char meta[RECORD_BYTES];
  const struct output *output = &outcome->output;
  size_t missed = output->missed;
  for (int i = 0; i < OUTPUT_STREAMS; i++) missed += output->streams[i].record.len;
  snprintf(meta, sizeof meta, RECORD_FORMAT, outcome->exit_status, (size_t)0, (size_t)0, missed);
  result->meta = idem_text(meta);
  result->body = idem_text("");
  enum idem_status status = finish_with_retries(options, claim, result);
  if (status == IDEM_CONFLICT) return IDEM_OK;
  if (status == IDEM_OK)
    say(options->key, "the output is too long for the server: only the status is recorded");
  return status;
}

/* That it has run matters more than what it wrote: without a record the next caller would run it
 * again. */
static enum idem_status store(const struct options *options, struct idem_claim *claim,
                              struct child_outcome *outcome) {
  char meta[RECORD_BYTES];
  struct idem_result result = describe_result(options, outcome->exit_status);
  enum idem_status status = IDEM_TOOBIG;
  if (pack(outcome, meta, &result) == 0) status = finish_with_retries(options, claim, &result);
  if (!gives_up_output(claim, &result, status)) return status;
  return store_status(options, claim, outcome, &result);
}

/* claim may be NULL. */
static void give_back(const struct options *options, struct idem_claim *claim,
                      enum idem_release how) {
  if (claim == NULL || idem_claim_state(claim) == IDEM_CLAIM_LOST) return;
  enum idem_status status = idem_abandon(claim, how);
  if (status == IDEM_OK || status == IDEM_STALE) return;
  say(options->key, "not given back, its lease runs on: %s", idem_claim_message(claim));
}

static int end_unstarted(const struct options *options, struct idem_claim *claim, int error) {
  say(NULL, "cannot run %s: %s", options->command[0], strerror(error));
  give_back(options, claim, IDEM_RELEASE_NOTHING);
  idem_claim_free(claim);
  return error == ENOENT ? EXIT_NOT_FOUND : EXIT_NOT_STARTED;
}

static void record(const struct options *options, struct idem_claim *claim,
                   struct child_outcome *outcome) {
  if (outcome->output.missed > 0) {
    say(options->key, "output over %zu bytes: %zu are not recorded", OUTPUT_RECORD_BYTES,
        outcome->output.missed);
  }
  enum idem_status status = store(options, claim, outcome);
  if (status == IDEM_OK) return;
  const char *message = idem_claim_message(claim);
  say(options->key, "it ran here, but that is NOT recorded (%s)%s%s", idem_status_name(status),
      *message != '\0' ? ": " : "", message);
}

/* The command has ended. claim is NULL when it ran unprotected. It is freed before the output is
 * passed on: nothing is renewed while a reader does not read. */
static int conclude(const struct options *options, struct idem_claim *claim,
                    struct child_outcome *outcome) {
  int exit_status = outcome->exit_status;
  if (outcome->killed && exit_status != 0) {
    say(options->key, "the claim was lost, the command was stopped");
    give_back(options, claim, IDEM_RELEASE_UNSURE);
    exit_status = EX_TEMPFAIL;
  } else if (outcome->ended_by != 0) {
    say(options->key, "signal %d ended it: it may have been done in part, and is not recorded",
        outcome->ended_by);
    give_back(options, claim, IDEM_RELEASE_UNSURE);
  } else if (claim != NULL) {
    record(options, claim, outcome);
  }
  idem_claim_free(claim);
  child_pass_on(outcome);
  const struct output_stream *streams = outcome->output.streams;
  exit_status = check_output(options, "standard output", streams[OUTPUT_STDOUT].error, exit_status);
  return check_output(options, "standard error", streams[OUTPUT_STDERR].error, exit_status);
}

/* After a stop, before the command goes on. Without an answer the claim is still held as long as
 * its lease runs. */
static bool renew(void *context) {
  struct idem_claim *claim = context;
  return idem_renew(claim, 0) == IDEM_OK || idem_claim_state(claim) == IDEM_CLAIM_HELD;
}

/* Takes over the claim; NULL: it runs unprotected. */
static int run(const struct options *options, struct idem_claim *claim, int lost) {
  struct child_outcome outcome;
  const struct child_order order = {.command = options->command,
                                    .foreground = options->foreground != 0,
                                    .lost = lost,
                                    .kill_when_lost = options->kill_on_loss != 0,
                                    .renew = claim != NULL ? renew : NULL,
                                    .context = claim};
  export_claim(claim);
  int error = -child_run(&order, &outcome);
  int exit_status =
      error != 0 ? end_unstarted(options, claim, error) : conclude(options, claim, &outcome);
  child_outcome_deinit(&outcome);
  return exit_status;
}

/* Absent when the command lines need not agree. No argument has a NUL inside, so no two lines give
 * the same bytes. */
static int fingerprint_command(const struct options *options,
                               struct idem_fingerprint *fingerprint) {
  struct idem_http_request line = {.method = idem_text("EXEC"), .digest = IDEM_XXH3_128};
  size_t len = 0;
  fingerprint->len = 0;
  if (!options->check_command) return 0;
  for (char **word = options->command; *word != NULL; word++) len += strlen(*word) + 1;
  char *all = malloc(len);
  if (all == NULL) return -ENOMEM;
  char *end = all;
  for (char **word = options->command; *word != NULL; word++) end = stpcpy(end, *word) + 1;
  line.body = idem_data(all, len);
  enum idem_status status = idem_fingerprint(&line, fingerprint);
  free(all);
  return status == IDEM_OK ? 0 : -ENOMEM;
}

static int ask_and_run(const struct options *options, struct idem_client *client, int lost) {
  struct idem_fingerprint fingerprint;
  struct idem_claim *claim = NULL;
  struct idem_answer answer = {0};
  struct idem_request request = {0};
  if (fingerprint_command(options, &fingerprint) != 0) {
    say(NULL, "out of memory; nothing was run");
    return EX_TEMPFAIL;
  }
  request.key = idem_text(options->key);
  if (fingerprint.len > 0) request.fingerprint = idem_data(fingerprint.bytes, fingerprint.len);
  request.lease_ms = options->lease_ms;
  request.wait_ms = options->wait_ms;
  request.born_unix_ms = options->born_unix_ms;
  request.takeover = options->takeover;
  request.flags = options->hold ? (unsigned)IDEM_HOLD : 0;
  enum idem_status status = idem_begin(client, &request, &claim, &answer);
  int exit_status;
  if (status == IDEM_RUN) {
    if (options->verbose) say(options->key, "runs, attempt %" PRId64, answer.attempt);
    exit_status = run(options, claim, lost);
  } else if (status == IDEM_REPLAY) {
    exit_status = replay(options, &answer);
  } else if (status == IDEM_UNAVAILABLE && options->fail_open) {
    say(options->key, "runs unprotected: %s", answer.message);
    exit_status = run(options, NULL, lost);
  } else {
    exit_status = explain(options, &answer);
  }
  idem_answer_clear(&answer);
  return exit_status;
}

/* A descriptor that is opened later must not become the command's stdin, stdout or stderr. Open for
 * reading only: what is written to a closed one has to fail as it would have. */
static void fill_standard_descriptors(void) {
  int null;
  do null = open("/dev/null", O_RDONLY);
  while (null >= 0 && null <= STDERR_FILENO);
  if (null >= 0) close(null);
}

int main(int argc, char **argv) {
  struct options options;
  char host[HOST_NAME_MAX + 1] = "";
  int loss[2];
  fill_standard_descriptors();
  options_parse(&options, argc, argv);
  if (!prepare_environment() || pipe2(loss, O_CLOEXEC | O_NONBLOCK) != 0) {
    say(NULL, "%s", strerror(errno));
    return EX_OSERR;
  }
  gethostname(host, sizeof host - 1);
  const struct idem_options client_options = {
      .name = host,
      .on_lost = tell_loss,
      .lost_context = &loss[1],
      .reply_limit_bytes = REPLY_LIMIT_BYTES,
      .ca_file = options.ca_file,
      .ca_dir = options.ca_dir,
      .cert_file = options.cert_file,
      .key_file = options.key_file,
      .server_name = options.server_name,
      .tls_flags = options.insecure_any_certificate ? IDEM_TLS_INSECURE_ANY_CERTIFICATE : 0u,
  };
  struct idem_client *client;
  struct idem_error error;
  enum idem_status status = idem_open(options.url, &client_options, &client, &error);
  if (status != IDEM_OK) {
    say(NULL, "%s", error.text);
    return status == IDEM_INVALID ? EX_USAGE : EX_CONFIG;
  }
  int exit_status = ask_and_run(&options, client, loss[0]);
  idem_close(client);
  return exit_status;
}
