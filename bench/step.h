/* Steps: a request and the only reply that is right, and the pieces that requests are made of. It
 * knows the bytes of idem's commands and nothing of sockets, time or counting.
 */
#ifndef IDEM_BENCH_STEP_H
#define IDEM_BENCH_STEP_H

#include "bench/message.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A token of the usual digits, for a request whose token no reply has brought: an echo's. */
#define STEP_USUAL_TOKEN UINT64_C(100000000000000)

/* The next step is sent when this one of the whole batch is answered, with the tokens that came
 * back. */
struct step {
  struct message request;
  struct message reply;
};

struct step_sizes {
  uint64_t lease_ms;
  uint64_t ttl_ms; /* 0: the TTL of a stored body is the subject's own, MESSAGE_PIECE_TTL_BULK */
  size_t body_bytes;
  size_t fingerprint_bytes; /* 0: a CLAIM says none */
  size_t echo_step;         /* of the scenario that an echo is like, from 0 */
  bool prefixed; /* idem's commands are called IDEM.X: by the module */
};

/* ---- pieces; each is appended to the message ---- */

/* "*N", the command's name and the key. */
void step_add_command(struct message *message, int arguments, const char *name);
void step_add_word(struct message *message, const char *word);
void step_add_number(struct message *message, uint64_t number);
/* A body begins with its key, so that a reply with another key's body is a wrong reply. */
void step_add_body(struct message *message, size_t bytes);
/* The TTL of a stored body: that of the run, or the subject's own. */
void step_add_ttl(struct message *message, const struct step_sizes *sizes);
/* CLAIM key [FP fingerprint] LEASE ms. */
void step_add_claim(struct message *message, const struct step_sizes *sizes);
/* The reply to a CLAIM or FETCH of a stored key. */
void step_add_done_reply(struct message *message, size_t body_bytes);

/* ---- whole steps; `step` is zero-filled ---- */

/* A CLAIM that is granted. */
void step_claim(struct step *step, const struct step_sizes *sizes);
/* A STORE with the token of the claim before it. */
void step_store(struct step *step, const struct step_sizes *sizes);

#endif
