/* answer.c - struct idem_answer, and the names of statuses. See answer.h and idem.h. */
#include "client/answer.h"

#include <stdio.h>
#include <string.h>

/* Soon enough for a server that restarts, seldom enough for an overloaded one. */
#define UNAVAILABLE_RETRY_MS 1000

const char *idem_version(void) { return IDEM_CLIENT_VERSION; }

const char *idem_status_name(enum idem_status status) {
  static const char *const names[] = {
#define NAME(word) [IDEM_##word] = #word
      NAME(OK),      NAME(RUN),       NAME(REPLAY),    NAME(BUSY),        NAME(UNKNOWN),
      NAME(LAPSED),  NAME(FORGOTTEN), NAME(ABSENT),    NAME(MISMATCH),    NAME(UNSTORED),
      NAME(FAILED),  NAME(STALE),     NAME(CONFLICT),  NAME(UNAVAILABLE), NAME(TOOBIG),
      NAME(REFUSED), NAME(INVALID),   NAME(NO_MEMORY), NAME(CANCELLED),
#undef NAME
  };
  size_t index = (size_t)status;
  return index < sizeof names / sizeof names[0] && names[index] != NULL ? names[index] : "?";
}

enum idem_status answer_set(struct idem_answer *answer, enum idem_status status,
                            const char *message) {
  memset(answer, 0, sizeof *answer);
  answer->status = status;
  if (status == IDEM_UNAVAILABLE) answer->retry_after_ms = UNAVAILABLE_RETRY_MS;
  if (message != NULL) snprintf(answer->message, sizeof answer->message, "%s", message);
  return status;
}

enum idem_status answer_granted(struct idem_answer *answer, const struct idem_claim *claim) {
  answer_set(answer, IDEM_RUN, NULL);
  answer->attempt = claim->attempt;
  answer->token = claim->lease.token;
  return IDEM_RUN;
}

static void release_reply(void *memory) { freeReplyObject(memory); }

enum idem_status answer_take(struct idem_answer *answer, struct wire_reply *reply) {
  answer_set(answer, reply->status, reply->message);
  answer->body = reply->body;
  answer->meta = reply->meta;
  answer->owner = reply->owner;
  answer->stage = reply->stage;
  answer->token = reply->token;
  answer->stale = reply->stale;
  answer->horizon_unix_ms = reply->horizon_unix_ms;
  answer->age_ms = reply->age_ms;
  answer->attempt = reply->attempt;
  if (reply->status == IDEM_REPLAY) answer->ttl_left_ms = reply->left_ms;
  if (reply->status == IDEM_BUSY) answer->retry_after_ms = reply->left_ms;
  if (reply->memory != NULL) {
    answer->memory = reply->memory;
    answer->release = release_reply;
    reply->memory = NULL;
  }
  return answer->status;
}

void idem_answer_clear(struct idem_answer *answer) {
  if (answer == NULL) return;
  if (answer->release != NULL) answer->release(answer->memory);
  memset(answer, 0, sizeof *answer);
}

void idem_answer_move(struct idem_answer *to, struct idem_answer *from) {
  *to = *from;
  memset(from, 0, sizeof *from);
}
