/* answer.h - filling struct idem_answer from what the server said. */
#ifndef IDEM_CLIENT_ANSWER_H
#define IDEM_CLIENT_ANSWER_H

#include "client/claim.h"
#include "client/idem.h"
#include "client/wire.h"

/* An answer that says only this. message may be NULL. Returns status. */
enum idem_status answer_set(struct idem_answer *answer, enum idem_status status,
                            const char *message);
/* RUN, under this claim. Returns it. */
enum idem_status answer_granted(struct idem_answer *answer, const struct idem_claim *claim);
/* Takes over the reply and its memory. Returns its status. */
enum idem_status answer_take(struct idem_answer *answer, struct wire_reply *reply);

#endif
