/* reply.c - see reply.h. */
#include "server/commands/reply.h"

#include <stdio.h>

#include "server/engine/pin.h"
#include "server/rules/answer.h"

#define SUB_SHOWN_BYTES 128u /* of a subcommand in an error, as Redis */

void reply_ok(struct call *call) { resp_write_simple(call->reply, "OK"); }

void reply_syntax_error(struct call *call) { resp_write_error(call->reply, "ERR syntax error"); }

void reply_sub_syntax_error(struct call *call, const char *container) {
  char suffix[COMMAND_NAME_BYTES + sizeof "'. Try  HELP."];
  struct span sub = call->argv[1];
  if (sub.len > SUB_SHOWN_BYTES) sub.len = SUB_SHOWN_BYTES;
  snprintf(suffix, sizeof suffix, "'. Try %s HELP.", container);
  resp_write_error_quoting(call->reply, "ERR unknown subcommand or wrong number of arguments for '",
                           sub, suffix);
}

void reply_wrongtype(struct call *call) {
  resp_write_error(call->reply, answer_error(ANSWER_WRONGTYPE));
}

void reply_oom(struct call *call) { resp_write_error(call->reply, answer_error(ANSWER_OOM)); }

void reply_request_error(struct resp_writer *reply, const struct request_error *error) {
  char text[REQUEST_ERROR_BYTES];
  request_error_text(error, text);
  resp_write_error(reply, text);
}

void reply_no_memory(struct call *call) {
  resp_write_error(call->reply, answer_error(ANSWER_NO_MEMORY));
}

void reply_blob(struct resp_writer *reply, struct shard *shard, struct blob *blob,
                struct span bytes) {
  if (bytes.len < REPLY_PINNED_BYTES || reply->out->failed) {
    resp_write_bulk(reply, bytes);
    return;
  }
  size_t refs = reply->out->ref_count;
  resp_write_bulk_pinned(reply, bytes, blob, shard);
  if (reply->out->ref_count > refs) pin_take(blob);
}

void reply_body(struct call *call, struct blob *body) {
  reply_blob(call->reply, call->shard, body, pin_bytes(body));
}
