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

/* As in Redis while none has begun. One that has begun goes on: callers were refused already. */
static void abort_shutdown(struct call *call) {
  bool draining = atomic_load(&call->worker->instance->draining);
  resp_write_error(call->reply, draining ? "ERR a drain that has begun cannot be aborted"
                                         : "ERR No shutdown in progress.");
}

/* A drain that has begun can be made to leave, but not to stay. */
static void want_shutdown(struct call *call, enum instance_shutdown wanted) {
  struct instance *instance = call->worker->instance;
  if ((int)wanted > atomic_load(&instance->shutdown_wanted))
    atomic_store(&instance->shutdown_wanted, (int)wanted);
  if (call->worker->number != 0) instance->wake(instance, 1);
}

/* [NOSAVE|SAVE] [NOW] [FORCE], or ABORT. Nothing is saved, so NOSAVE, SAVE and FORCE, which ignores
 * that saving fails, change nothing. NOW waits for no owner, as Redis then waits for no replica. No
 * reply: the connection ends. */
void server_shutdown(struct call *call) {
  static const char *const words[] = {"NOSAVE", "SAVE", "NOW", "FORCE"};
  if (call->argc == 2 && span_is(call->argv[1], "ABORT")) {
    abort_shutdown(call);
    return;
  }
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
  want_shutdown(call, given[2] ? INSTANCE_LEAVES : INSTANCE_DRAINS);
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

/* Arguments other than VERSION are about the picture, which does not exist here. */
void server_lolwut(struct call *call) {
  long long version = 0;
  bool versioned = call->argc > 2 && span_is(call->argv[1], "VERSION");
  if (versioned && !arguments_integer(call, call->argv[2], &version)) return;
  static const char text[] =
      "do it once, do it once, do it once: done.\nidem ver. " IDEM_VERSION "\n";
  resp_write_verbatim(call->reply, "txt", SPAN_LITERAL(text));
}
