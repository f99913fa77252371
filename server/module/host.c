/* host.c - see host.h. */
#include "server/module/host.h"

struct host host;

#define FIELD(field) METRIC_FIELD(struct host_counters, field)
#define COUNTER METRIC_COUNTER, METRIC_NO_UNIT
#define GAUGE METRIC_GAUGE, METRIC_NO_UNIT

/* With the names that the server's figures have (engine/engine_metrics.c). */
const struct metric host_metrics[] = {
    {"waiters", GAUGE, "Clients that wait on a key.", FIELD(waiters)},
    {"bound", GAUGE, "Claims with BIND whose connection is one of this process.", FIELD(bound)},
    {"claims_granted", COUNTER, "Claims granted at once.", FIELD(granted)},
    {"claims_granted_again", COUNTER,
     "Claims granted to the same OWNER again, since its reply had been lost.",
     FIELD(granted_again)},
    {"claims_handed_over", COUNTER, "Waiters that became the owner.", FIELD(handed_over)},
    {"claims_taken_back", COUNTER, "Hand-overs undone, since the waiter was gone.",
     FIELD(taken_back)},
    {"replayed", COUNTER, "DONE answers, without those to waiters.", FIELD(answers[ANSWER_DONE])},
    {"busy", COUNTER, "BUSY answers, without those to waiters.", FIELD(answers[ANSWER_BUSY])},
    {"unknown_answers", COUNTER, "UNKNOWN answers, without those to waiters.",
     FIELD(answers[ANSWER_UNKNOWN])},
    {"forgotten_answers", COUNTER, "FORGOTTEN answers: a record of the request may have been lost.",
     FIELD(answers[ANSWER_FORGOTTEN])},
    {"mismatches", COUNTER, "MISMATCH errors: a key was used for another request.",
     FIELD(answers[ANSWER_MISMATCH])},
    {"stored", COUNTER, "Responses stored by owners.", FIELD(answers[ANSWER_STORED])},
    {"stale_absent", COUNTER, "STALE errors, by kind. absent: the key has no record.",
     FIELD(answers[ANSWER_STALE_ABSENT])},
    {"stale_stored", COUNTER, "A response was stored already.",
     FIELD(answers[ANSWER_STALE_STORED])},
    {"stale_overtaken", COUNTER, "The token was not the current owner's.",
     FIELD(answers[ANSWER_STALE_OVERTAKEN])},
    {"conflicts", COUNTER, "CONFLICT errors: a caller has a bug.", FIELD(answers[ANSWER_CONFLICT])},
    {"renewed", COUNTER, "Leases renewed by owners.", FIELD(answers[ANSWER_RENEWED])},
    {"released", COUNTER, "Claims released by owners.", FIELD(answers[ANSWER_RELEASED])},
    {"claims_unknown", COUNTER, "Claims that became UNKNOWN, as far as this process saw it.",
     FIELD(became_unknown)},
    {"waits_timed_out", COUNTER, "Waits that ended with BUSY.", FIELD(waits_timed_out)},
    {"refused_memory", COUNTER, "OOM errors: maxmemory was reached.", FIELD(answers[ANSWER_OOM])},
    METRIC_END,
};

int64_t host_now_ms(struct host *of) { return tokens_now(&of->tokens, api.Milliseconds()); }
