/* engine_metrics.c - see engine_metrics.h. */
#include "server/engine/engine_metrics.h"

#include "server/engine/stats.h"

#define FIELD(field) METRIC_FIELD(struct stats, field)
#define OF_FAMILY(field, family, labels) METRIC_FIELD_AS(struct stats, field, family, labels)
#define COUNTER METRIC_COUNTER, METRIC_NO_UNIT
#define GAUGE METRIC_GAUGE, METRIC_NO_UNIT
#define AGE METRIC_GAUGE, METRIC_MILLISECONDS
#define TEXT METRIC_TEXT, METRIC_NO_UNIT

const struct metric engine_metrics_keyspace[] = {
    {"expired_keys", COUNTER, "Keys that reached their end.", FIELD(expired)},
    {"evicted_keys", TEXT, "Nothing is evicted.", METRIC_FIXED("0")},
    {"keyspace_hits", TEXT, "As replayed.", FIELD(replayed)},
    {"keyspace_misses", TEXT, "As claims_granted.", FIELD(granted)},
    METRIC_END,
};

const struct metric engine_metrics_idem[] = {
    {"records", TEXT, "Keys that are records, in any state.", FIELD(records)},
    {"held", GAUGE, "Records by state. held: it has an owner.",
     OF_FAMILY(phases[RULES_HELD], "records", "state=\"held\"")},
    {"lapsed", GAUGE, "Records whose owner has gone without a response.",
     OF_FAMILY(phases[RULES_LAPSED], "records", "state=\"lapsed\"")},
    {"unknown", GAUGE, "Records whose outcome has to be looked into.",
     OF_FAMILY(phases[RULES_UNKNOWN], "records", "state=\"unknown\"")},
    {"done", GAUGE, "Records with a response.",
     OF_FAMILY(phases[RULES_DONE], "records", "state=\"done\"")},
    {"oldest_held_ms", AGE, "Age of the oldest grant of a HELD claim.", FIELD(oldest_held_ms)},
    {"oldest_unknown_ms", AGE, "Age of the oldest grant of an UNKNOWN claim.",
     FIELD(oldest_unknown_ms)},
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
    {"stale", TEXT, "STALE errors: the sum of the next three.", FIELD(stale)},
    {"stale_absent", COUNTER, "STALE errors, by kind. absent: the key has no record.",
     OF_FAMILY(stale_absent, "stale", "kind=\"absent\"")},
    {"stale_stored", COUNTER, "A response was stored already.",
     OF_FAMILY(stale_stored, "stale", "kind=\"stored\"")},
    {"stale_overtaken", COUNTER, "The token was not the current owner's.",
     OF_FAMILY(stale_overtaken, "stale", "kind=\"overtaken\"")},
    {"conflicts", COUNTER, "CONFLICT errors: a caller has a bug.", FIELD(conflicts)},
    {"renewed", COUNTER, "Leases renewed by owners.", FIELD(renewed)},
    {"released", COUNTER, "Claims released by owners.", FIELD(released)},
    {"leases_over", COUNTER, "Leases that expired.", FIELD(lapsed)},
    {"claims_unknown", COUNTER, "Claims that became UNKNOWN.", FIELD(became_unknown)},
    {"waits_timed_out", COUNTER, "Waits that ended with BUSY.", FIELD(waits_timed_out)},
    {"refused_memory", COUNTER, "OOM errors: maxmemory was reached.", FIELD(refused_memory)},
    METRIC_END,
};
