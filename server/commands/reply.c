/* reply.c - replies and argument checks that several families use. */
#include "server/commands/command.h"

/* A body of at least this many bytes is sent from where it lies, without a copy; shorter ones join
 * the other replies of the turn in one buffer. */
#define PINNED_BYTES (16u * 1024)

void reply_ok(struct call *call) { resp_write_simple(call->reply, "OK"); }

void reply_syntax_error(struct call *call) { resp_write_error(call->reply, "ERR syntax error"); }

void reply_wrongtype(struct call *call) {
  resp_write_error(call->reply,
                   "WRONGTYPE Operation against a key holding the wrong kind of value");
}

void reply_oom(struct call *call) {
  resp_write_error(call->reply, "OOM command not allowed when used memory > 'maxmemory'.");
}

void reply_blob(struct resp_writer *reply, struct shard *shard, struct engine_blob *blob,
                struct span bytes) {
  if (bytes.len < PINNED_BYTES || reply->out->failed) {
    resp_write_bulk(reply, bytes);
    return;
  }
  size_t refs = reply->out->ref_count;
  resp_write_bulk_pinned(reply, bytes, blob, shard);
  if (reply->out->ref_count > refs) engine_pin(blob);
}

void reply_body(struct call *call, struct engine_blob *body) {
  reply_blob(call->reply, call->shard, body, engine_bytes(body));
}

bool parse_integer(struct call *call, struct span text, long long *value) {
  if (span_to_i64(text, value)) return true;
  resp_write_error(call->reply, "ERR value is not an integer or out of range");
  return false;
}
