/* reply.h - replies that several families use. Those of the six commands: rules/answer.h,
 * deliver.h. */
#ifndef IDEM_SERVER_COMMANDS_REPLY_H
#define IDEM_SERVER_COMMANDS_REPLY_H

#include "server/commands/call.h"
#include "server/rules/request.h"

void reply_ok(struct call *call);
void reply_syntax_error(struct call *call);
/* Of a subcommand that has too many arguments; `container` is the command's name in upper case. */
void reply_sub_syntax_error(struct call *call, const char *container);
void reply_wrongtype(struct call *call);
void reply_oom(struct call *call);       /* at maxmemory */
void reply_no_memory(struct call *call); /* the system has none */

/* Replies the error of a request, in the contract's words. */
RARE void reply_request_error(struct resp_writer *reply, const struct request_error *error);

/* A blob of the call's shard, whole. */
void reply_body(struct call *call, struct blob *body);
/* Bytes of a blob: from REPLY_PINNED_BYTES on they are pinned and sent from where they lie, shorter
 * ones are copied to the other replies of the turn. The shard, whose blob it is, is locked. */
#define REPLY_PINNED_BYTES (16u * 1024)
void reply_blob(struct resp_writer *reply, struct shard *shard, struct blob *blob,
                struct span bytes);

/* Whether what was written since the output had `before` bytes is an error. */
static inline bool reply_is_error(const struct resp_writer *reply, size_t before) {
  const struct resp_output *out = reply->out;
  return out->len > before && out->bytes[before] == '-';
}

#endif
