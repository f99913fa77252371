/* server.c - see server.h. */
#include "server/commands/server.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "server/commands/arguments.h"
#include "server/commands/reply.h"
#include "server/ops/version.h"

void server_time(struct call *call) {
  struct timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  char seconds[24], microseconds[24];
  snprintf(seconds, sizeof seconds, "%lld", (long long)now.tv_sec);
  snprintf(microseconds, sizeof microseconds, "%ld", now.tv_nsec / 1000);
  resp_write_array(call->reply, 2);
  resp_write_bulk_text(call->reply, seconds);
  resp_write_bulk_text(call->reply, microseconds);
}

/* [NOSAVE|SAVE] [NOW] [FORCE]: nothing is saved, so none of them changes anything. No reply: the
 * connection ends. */
void server_shutdown(struct call *call) {
  static const char *const words[] = {"NOSAVE", "SAVE", "NOW", "FORCE"};
  bool given[sizeof words / sizeof words[0]] = {false};
  for (size_t i = 1; i < call->argc; i++) {
    bool known = false;
    for (size_t w = 0; w < sizeof words / sizeof words[0]; w++) {
      if (span_is(call->argv[i], words[w])) known = given[w] = true;
    }
    if (!known || (given[0] && given[1])) {
      reply_syntax_error(call);
      return;
    }
  }
  atomic_store(&call->worker->instance->shutdown_wanted, true);
  if (call->worker->number != 0) call->worker->instance->wake(call->worker->instance, 1);
}

/* Longest DEBUG SLEEP: it stops the whole server on purpose, but not for ever. */
#define SLEEP_MAX_S 60.0

void server_debug_sleep(struct call *call) {
  if (!call->worker->options->enable_debug_command) {
    resp_write_error(
        call->reply,
        "ERR DEBUG command not allowed. Start the server with enable-debug-command yes to "
        "allow it.");
    return;
  }
  char text[32] = {0}, *end = text;
  struct span argument = call->argv[2];
  if (argument.len > 0 && argument.len < sizeof text) memcpy(text, argument.data, argument.len);
  double seconds = strtod(text, &end);
  if (end == text || *end != '\0' || !(seconds >= 0 && seconds <= SLEEP_MAX_S)) {
    resp_write_errorf(call->reply, "ERR DEBUG SLEEP takes seconds from 0 to %.0f", SLEEP_MAX_S);
    return;
  }
  double whole = floor(seconds);
  struct timespec left = {(time_t)whole, (long)((seconds - whole) * 1e9)};
  while (nanosleep(&left, &left) != 0 && errno == EINTR) continue;
  reply_ok(call);
}

/* No event is ever sampled: LATEST and HISTORY are empty. */
void server_latency_none(struct call *call) { resp_write_array(call->reply, 0); }

void server_latency_reset(struct call *call) { resp_write_integer(call->reply, 0); }

void server_no_cluster(struct call *call) {
  resp_write_error(call->reply, "ERR This instance has cluster support disabled");
}

void server_no_scripts(struct call *call) {
  bool known =
      call->argc == 2 ||
      (call->argc == 3 && (span_is(call->argv[2], "ASYNC") || span_is(call->argv[2], "SYNC")));
  if (known) {
    reply_ok(call);
  } else {
    reply_syntax_error(call);
  }
}

void server_no_modules(struct call *call) { resp_write_array(call->reply, 0); }

void server_role(struct call *call) {
  resp_write_array(call->reply, 3);
  resp_write_bulk_text(call->reply, "master");
  resp_write_integer(call->reply, 0);
  resp_write_array(call->reply, 0);
}

void server_acl_whoami(struct call *call) { resp_write_bulk_text(call->reply, "default"); }

/* Arguments other than VERSION are about the picture, which does not exist here. */
void server_lolwut(struct call *call) {
  long long version = 0;
  bool versioned = call->argc > 2 && span_is(call->argv[1], "VERSION");
  if (versioned && !arguments_integer(call, call->argv[2], &version)) return;
  static const char text[] =
      "do it once, do it once, do it once: done.\nidem ver. " IDEM_VERSION "\n";
  resp_write_verbatim(call->reply, "txt", SPAN_LITERAL(text));
}
