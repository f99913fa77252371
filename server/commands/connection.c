/* connection.c - see connection.h. Texts and checks are Redis 7.0's: clients fall back on them. */
#include "server/commands/connection.h"

#include <stdlib.h>
#include <string.h>

#include "server/commands/accounts.h"
#include "server/commands/arguments.h"
#include "server/commands/monitor.h"
#include "server/commands/queue.h"
#include "server/commands/reply.h"
#include "server/commands/strangers.h"
#include "server/commands/topics.h"
#include "server/ops/version.h"

/* ---- passwords ---- */

/* False: an error was replied, or will be. */
static bool authenticate(struct call *call, struct span user, struct span password) {
  struct session *session = call->session;
  if (strangers_exhausted(session) ||
      !accounts_authenticate(session, call->worker, user, password)) {
    strangers_auth_failed(call, user);
    return false;
  }
  session->auth_failures = 0;
  return true;
}

void connection_auth(struct call *call) {
  if (call->argc > 3) {
    reply_syntax_error(call);
    return;
  }
  if (call->argc == 2 && call->worker->instance->users->initial->nopass) {
    resp_write_error(
        call->reply,
        "ERR AUTH <password> called without any password configured for the default user. "
        "Are you sure your configuration is "
        "correct?");
    return;
  }
  struct span user = call->argc == 3 ? call->argv[1] : SPAN_LITERAL("default");
  if (authenticate(call, user, call->argv[call->argc - 1])) reply_ok(call);
}

/* ---- names ---- */

/* Printable and without blanks, since a name is part of a line of CLIENT LIST. */
static bool plain(struct span text) {
  for (size_t i = 0; i < text.len; i++) {
    if (text.data[i] < '!' || text.data[i] > '~') return false;
  }
  return true;
}

static bool keep_text(struct call *call, char **kept, struct span text) {
  char *copy = text.len > 0 ? strndup(text.data, text.len) : NULL;
  if (text.len > 0 && copy == NULL) {
    reply_no_memory(call);
    return false;
  }
  free(*kept);
  *kept = copy;
  return true;
}

/* False: an error was replied. */
static bool set_name(struct call *call, struct span name) {
  if (!plain(name)) {
    resp_write_error(call->reply,
                     "ERR Client names cannot contain spaces, newlines or special characters.");
    return false;
  }
  if (name.len > SESSION_NAME_MAX) {
    resp_write_errorf(call->reply, "ERR Client names cannot be longer than %d bytes",
                      SESSION_NAME_MAX);
    return false;
  }
  struct session_details *details = session_details(call->session);
  if (details == NULL) {
    reply_no_memory(call);
    return false;
  }
  return keep_text(call, &details->name, name);
}

void connection_client_setname(struct call *call) {
  if (set_name(call, call->argv[2])) reply_ok(call);
}

void connection_client_getname(struct call *call) {
  const struct session_details *details = call->session->details;
  resp_write_bulk(call->reply, span_of(details != NULL ? details->name : NULL));
}

void connection_client_setinfo(struct call *call) {
  struct span what = call->argv[2], text = call->argv[3];
  bool is_name = span_is(what, "LIB-NAME");
  if (!is_name && !span_is(what, "LIB-VER")) {
    resp_write_error_quoting(call->reply, "ERR Unrecognized option '", what, "'");
    return;
  }
  if (!plain(text) || text.len > SESSION_NAME_MAX) {
    resp_write_errorf(call->reply, "ERR %s cannot contain spaces, newlines or special characters.",
                      is_name ? "lib-name" : "lib-ver");
    return;
  }
  struct session_details *details = session_details(call->session);
  if (details == NULL) {
    reply_no_memory(call);
    return;
  }
  if (keep_text(call, is_name ? &details->library_name : &details->library_version, text))
    reply_ok(call);
}

/* ---- HELLO ---- */

struct hello {
  long long version;
  struct span user, password, name;
};

static bool parse_hello(struct call *call, struct hello *hello) {
  *hello = (struct hello){.version = call->session->version};
  if (call->argc >= 2) {
    if (!span_to_i64(call->argv[1], &hello->version)) {
      resp_write_error(call->reply, "ERR Protocol version is not an integer or out of range");
      return false;
    }
    if (hello->version < 2 || hello->version > 3) {
      resp_write_error(call->reply, "NOPROTO unsupported protocol version");
      return false;
    }
  }
  for (size_t i = 2; i < call->argc; i++) {
    size_t left = call->argc - i - 1;
    if (span_is(call->argv[i], "AUTH") && left >= 2) {
      hello->user = call->argv[i + 1];
      hello->password = call->argv[i + 2];
      i += 2;
    } else if (span_is(call->argv[i], "SETNAME") && left >= 1) {
      hello->name = call->argv[++i];
    } else {
      resp_write_error_quoting(call->reply, "ERR Syntax error in HELLO option '", call->argv[i],
                               "'");
      return false;
    }
  }
  return true;
}

void connection_hello(struct call *call) {
  struct hello hello;
  if (!parse_hello(call, &hello)) return;
  if (span_present(hello.user) && !authenticate(call, hello.user, hello.password)) return;
  if (!call->session->authenticated) {
    resp_write_error(
        call->reply,
        "NOAUTH HELLO must be called with the client already authenticated, otherwise the "
        "HELLO <proto> AUTH <user> <pass> "
        "option can be used to authenticate the client and select the RESP protocol version "
        "at the same time");
    return;
  }
  if (span_present(hello.name) && !set_name(call, hello.name)) return;
  call->session->version = (uint8_t)hello.version;
  call->reply->version = (int)hello.version;
  struct resp_writer *reply = call->reply;
  resp_write_map(reply, 7);
  resp_write_bulk_text(reply, "server");
  resp_write_bulk_text(reply, "idem");
  resp_write_bulk_text(reply, "version");
  resp_write_bulk_text(reply, IDEM_REDIS_VERSION);
  resp_write_bulk_text(reply, "proto");
  resp_write_integer(reply, hello.version);
  resp_write_bulk_text(reply, "id");
  resp_write_integer(reply, (int64_t)call->session->id);
  resp_write_bulk_text(reply, "mode");
  resp_write_bulk_text(reply, "standalone");
  resp_write_bulk_text(reply, "role");
  resp_write_bulk_text(reply, "master");
  resp_write_bulk_text(reply, "modules");
  resp_write_array(reply, 0);
}

/* ---- small ones ---- */

void connection_ping(struct call *call) {
  if (call->argc > 2) {
    resp_write_error(call->reply, "ERR wrong number of arguments for 'ping' command");
    return;
  }
  struct span message = call->argc == 2 ? call->argv[1] : SPAN_ABSENT;
  if (session_only_listens(call->session)) {
    resp_write_array(call->reply, 2);
    resp_write_bulk_text(call->reply, "pong");
    resp_write_bulk(call->reply, span_present(message) ? message : SPAN_LITERAL(""));
  } else if (span_present(message)) {
    resp_write_bulk(call->reply, message);
  } else {
    resp_write_simple(call->reply, "PONG");
  }
}

void connection_echo(struct call *call) { resp_write_bulk(call->reply, call->argv[1]); }

void connection_select(struct call *call) {
  long long index = 0;
  if (!arguments_integer(call, call->argv[1], &index)) return;
  if (index != 0) {
    resp_write_error(call->reply, "ERR DB index is out of range");
  } else {
    reply_ok(call);
  }
}

void connection_quit(struct call *call) {
  reply_ok(call);
  call->session->close_when_sent = true;
}

void connection_reset(struct call *call) {
  struct session *session = call->session;
  queue_discard(session);
  topics_leave(call->worker, session);
  monitor_leave(call->worker, session);
  session_unbind(session, call->worker);
  if (session->details != NULL) {
    free(session->details->name);
    session->details->name = NULL;
  }
  session->replies = SESSION_REPLIES_ON;
  session->version = 2;
  call->reply->version = 2;
  accounts_begin_session(session, call->worker);
  strangers_add(call->worker, session);
  resp_write_simple(call->reply, "RESET");
}

/* ---- CLIENT ---- */

void connection_client_id(struct call *call) {
  resp_write_integer(call->reply, (int64_t)call->session->id);
}
