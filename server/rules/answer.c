/* answer.c - see answer.h: the table. */
#include "server/rules/answer.h"

#define TEXT(literal) \
  { literal, sizeof(literal) - 1 }

#define COUNT(...) (sizeof((enum answer_field[]){__VA_ARGS__}) / sizeof(enum answer_field))

/* clang-format off */
#define ARRAY(word, ...) {ANSWER_IS_ARRAY, TEXT(word), NULL, COUNT(__VA_ARGS__), {__VA_ARGS__}}
#define INTEGER(field)   {ANSWER_IS_INTEGER, {NULL, 0}, NULL, 1, {field}}
#define NULL_ARRAY       {ANSWER_IS_NULL, {NULL, 0}, NULL, 0, {ANSWER_NO_FIELD}}
#define ERROR(text)      {ANSWER_IS_ERROR, TEXT(text), NULL, 0, {ANSWER_NO_FIELD}}
#define ERROR_OF(text, field, rest) {ANSWER_IS_ERROR, TEXT(text), rest, 1, {field}}

const struct answer_form ANSWER_FORMS[ANSWER_KINDS] = {
    [ANSWER_CLAIMED]   = ARRAY("CLAIMED", ANSWER_TOKEN, ANSWER_LEASE, ANSWER_ATTEMPT, ANSWER_STAGE),
    [ANSWER_DONE]      = ARRAY("DONE", ANSWER_BODY, ANSWER_META, ANSWER_AGE, ANSWER_LEFT),
    [ANSWER_BUSY]      = ARRAY("BUSY", ANSWER_LEFT, ANSWER_AGE, ANSWER_OWNER, ANSWER_STAGE),
    [ANSWER_LAPSED]    = ARRAY("LAPSED", ANSWER_TOKEN, ANSWER_AGE, ANSWER_ATTEMPT, ANSWER_OWNER, ANSWER_STAGE),
    [ANSWER_UNKNOWN]   = ARRAY("UNKNOWN", ANSWER_TOKEN, ANSWER_AGE, ANSWER_ATTEMPT, ANSWER_OWNER, ANSWER_STAGE),
    [ANSWER_FORGOTTEN] = ARRAY("FORGOTTEN", ANSWER_HORIZON),
    [ANSWER_NOTHING]   = NULL_ARRAY,
    [ANSWER_STORED]    = INTEGER(ANSWER_WAITERS),
    [ANSWER_RENEWED]   = INTEGER(ANSWER_LEASE),
    [ANSWER_RELEASED]  = INTEGER(ANSWER_ONE),
    [ANSWER_NOT_YOURS] = INTEGER(ANSWER_ZERO),
    [ANSWER_MISMATCH]  = ERROR("MISMATCH the key is in use by a request with another fingerprint"),
    [ANSWER_STALE_ABSENT] = ERROR("STALE ABSENT the key has no record"),
    [ANSWER_STALE_STORED] = ERROR("STALE STORED a response is stored already"),
    [ANSWER_STALE_OVERTAKEN] = ERROR("STALE OVERTAKEN the token is not the current owner's"),
    [ANSWER_CONFLICT]  = ERROR("CONFLICT this grant has already stored other bytes; the first ones stay"),
    [ANSWER_OOM]       = ERROR("OOM the memory limit is reached; nothing is evicted"),
    [ANSWER_BUSYKEY]   = ERROR("BUSYKEY too many callers wait"),
    [ANSWER_CLAIM_QUOTA] = ERROR_OF("OOM quota-claims", ANSWER_MOST, "claims are held by this user, and it may hold no more"),
    [ANSWER_WAITER_QUOTA] = ERROR_OF("BUSYKEY quota-waiters", ANSWER_MOST, "callers of this user wait, and no more may"),
    [ANSWER_DRAINING]  = ERROR("DRAINING the server is leaving; no claim is granted any more"),
    [ANSWER_NO_ROOM]   = ERROR("MISCONF the journal has no room; nothing new is taken"),
    [ANSWER_WRONGTYPE] = ERROR("WRONGTYPE Operation against a key holding the wrong kind of value"),
    [ANSWER_NO_MEMORY] = ERROR("ERR out of memory"),
};
