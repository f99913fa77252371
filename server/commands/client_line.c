/* client_line.c - see client_line.h. Fields are Redis 7.0's. */
#include "server/commands/client_line.h"

#include <stdio.h>

#include "server/commands/queue.h"
#include "server/commands/topics.h"

static const char *text_or_empty(const char *text) { return text != NULL ? text : ""; }

static void session_flags(const struct session *session, char flags[8]) {
  size_t n = 0;
  if (session->monitors) flags[n++] = 'O';
  if (topics_count_both(session) > 0) flags[n++] = 'P';
  if (session_queue(session) != NULL) flags[n++] = 'x';
  if (session->waiting) flags[n++] = 'b';
  if (session->close_when_sent) flags[n++] = 'c';
  if (session->close_now) flags[n++] = 'A';
  if (n == 0) flags[n++] = 'N';
  flags[n] = '\0';
}

size_t client_line(const struct worker *worker, const struct session *session,
                   char line[CLIENT_LINE_BYTES + 1]) {
  struct session_address address;
  worker->instance->describe(session, &address);
  char flags[8], name[COMMAND_NAME_BYTES] = "NULL";
  session_flags(session, flags);
  if (session->last_row != SESSION_NO_ROW)
    command_name(&worker->commands->rows[session->last_row], name);
  const struct session_details none = {0},
                               *details = session->details != NULL ? session->details : &none;
  int len = snprintf(
      line, CLIENT_LINE_BYTES,
      "id=%llu addr=%s laddr=%s fd=%d name=%s age=%lld idle=%lld flags=%s db=0 sub=%zu psub=%zu "
      "ssub=0 multi=%d qbuf=%zu "
      "qbuf-free=0 argv-mem=0 multi-mem=%zu rbs=0 rbp=0 obl=0 oll=0 omem=%zu tot-mem=%zu events=r "
      "cmd=%s user=%s redir=-1 "
      "resp=%d lib-name=%s lib-ver=%s",
      (unsigned long long)session->id, address.peer, address.local, address.fd,
      text_or_empty(details->name),
      (long long)((worker->monotonic_ms - session->connected_ms) / 1000),
      (long long)((worker->monotonic_ms - session->active_ms) / 1000), flags,
      topics_count(session, TOPICS_CHANNEL), topics_count(session, TOPICS_PATTERN),
      queue_length(session), address.input_bytes, queue_bytes(session), address.output_bytes,
      address.input_bytes + address.output_bytes, name, session->user->name, session->version,
      text_or_empty(details->library_name), text_or_empty(details->library_version));
  size_t used = len < CLIENT_LINE_BYTES ? (size_t)len : CLIENT_LINE_BYTES - 1;
  line[used++] = '\n';
  return used;
}
