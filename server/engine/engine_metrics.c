/* engine_metrics.c - see engine_metrics.h. */
#include "server/engine/engine_metrics.h"

#include "server/engine/stats.h"

#define FIELD(field) METRIC_FIELD(struct stats, field)
#define COUNTER METRIC_COUNTER, METRIC_NO_UNIT
#define GAUGE METRIC_GAUGE, METRIC_NO_UNIT

const struct metric engine_metrics_keyspace[] = {
    {"expired_keys", COUNTER, "Keys that reached their end.", FIELD(expired)},
    {"evicted_keys", METRIC_TEXT, METRIC_NO_UNIT, "Nothing is evicted.", METRIC_FIXED("0")},
    {"keyspace_hits", COUNTER, "Replays: CLAIM answered DONE.", FIELD(replayed)},
    {"keyspace_misses", COUNTER, "Claims granted at once.", FIELD(granted)},
    METRIC_END,
};

const struct metric engine_metrics_idem[] = {
    {"records", GAUGE, "Keys that are records, in any state.", FIELD(records)},
    {"held", GAUGE, "Records with an owner.", FIELD(phases[RULES_HELD])},
    {"lapsed", GAUGE, "Records whose owner has gone without a response.",
     FIELD(phases[RULES_LAPSED])},
    {"unknown", GAUGE, "Records whose outcome has to be looked into.",
     FIELD(phases[RULES_UNKNOWN])},
    {"oldest_held_ms", GAUGE, "Milliseconds since the oldest HELD claim was granted.",
     FIELD(oldest_held_ms)},
    {"oldest_unknown_ms", GAUGE, "Milliseconds since the oldest UNKNOWN claim was granted.",
     FIELD(oldest_unknown_ms)},
    {"done", GAUGE, "Records with a response.", FIELD(phases[RULES_DONE])},
    {"values", GAUGE, "Keys that are plain strings.", FIELD(values)},
    {"waiters", GAUGE, "Clients that wait on a key.", FIELD(waiters)},
    {"claims_granted", COUNTER, "Claims granted at once.", FIELD(granted)},
    {"claims_granted_again", COUNTER,
     "Claims granted to the same OWNER again, since its reply had been lost.",
     FIELD(granted_again)},
    {"claims_handed_over", COUNTER, "Waiters that became the owner.", FIELD(handed_over)},
    {"claims_taken_back", COUNTER, "Hand-overs undone, since the waiter was gone.",
     FIELD(taken_back)},
    {"replayed", COUNTER, "DONE answers, without those to waiters.", FIELD(replayed)},
    {"busy", COUNTER, "BUSY answers, without those to waiters.", FIELD(busy)},
    {"unknown_answers", COUNTER, "UNKNOWN answers, without those to waiters.", FIELD(unknown)},
    {"forgotten_answers", COUNTER, "FORGOTTEN answers: a record of the request may have been lost.",
     FIELD(forgotten)},
    {"mismatches", COUNTER, "MISMATCH errors: a key was used for another request.",
     FIELD(mismatched)},
    {"stored", COUNTER, "Responses stored by owners.", FIELD(stored)},
    {"stale", COUNTER, "STALE errors: an owner had lost its claim.", FIELD(stale)},
    {"conflicts", COUNTER, "CONFLICT errors: a caller has a bug.", FIELD(conflicts)},
    {"renewed", COUNTER, "Leases renewed by owners.", FIELD(renewed)},
    {"released", COUNTER, "Claims released by owners.", FIELD(released)},
    {"leases_over", COUNTER, "Leases that expired.", FIELD(lapsed)},
    {"waits_timed_out", COUNTER, "Waits that ended with BUSY.", FIELD(waits_timed_out)},
    {"refused_memory", COUNTER, "OOM errors: maxmemory was reached.", FIELD(refused_memory)},
    METRIC_END,
};
