/*
 * answer.h - what the six commands answer: the kinds, and for each the form of its reply.
 *
 *     DONE     is an array   "DONE" body meta age left
 *     STORED   is an integer        waiters
 *     NOTHING  is a null array
 *     OOM      is an error   "OOM ..."
 *
 * The words, the order of the fields and the texts stand in one table. The caller walks a form and
 * writes each field in its own way: it has the values (numbers, spans, counted bodies), this file
 * only says which ones. Pure data; it must not know RESP, nor the session.
 */
#ifndef IDEM_SERVER_RULES_ANSWER_H
#define IDEM_SERVER_RULES_ANSWER_H

#include "proto/span.h"

enum answer_kind {
  ANSWER_CLAIMED,   /* the caller runs the work */
  ANSWER_DONE,      /* here is the response */
  ANSWER_BUSY,      /* another caller runs it */
  ANSWER_LAPSED,    /* a claim ended without a response */
  ANSWER_UNKNOWN,   /* a claim with HOLD did */
  ANSWER_FORGOTTEN, /* a record of the request may have been lost */
  ANSWER_NOTHING,   /* there is no record */
  ANSWER_STORED,
  ANSWER_RENEWED,
  ANSWER_RELEASED,
  ANSWER_NOT_YOURS, /* RELEASE: there was nothing to release */
  ANSWER_MISMATCH,
  ANSWER_STALE_ABSENT,
  ANSWER_STALE_STORED,
  ANSWER_STALE_OVERTAKEN,
  ANSWER_CONFLICT,
  ANSWER_OOM,          /* the memory limit */
  ANSWER_BUSYKEY,      /* a limit of waiters */
  ANSWER_CLAIM_QUOTA,  /* the user holds as many claims as it may */
  ANSWER_WAITER_QUOTA, /* as many of its callers wait as may */
  ANSWER_DRAINING,     /* the server leaves: nothing is granted any more */
  ANSWER_NO_ROOM,      /* nothing is granted until the journal has room */
  ANSWER_WRONGTYPE,    /* a plain string lives there, or the other way round */
  ANSWER_NO_MEMORY,    /* the system has no more; nothing was changed */
  ANSWER_KINDS
};

enum answer_field {
  ANSWER_NO_FIELD,
  /* integers; durations in milliseconds */
  ANSWER_TOKEN,   /* of the grant */
  ANSWER_LEASE,   /* its length */
  ANSWER_ATTEMPT, /* 1 for the first grant */
  ANSWER_AGE,     /* since the grant; DONE: since the STORE */
  ANSWER_LEFT,    /* until the lease ends; DONE: until the response is forgotten */
  ANSWER_WAITERS, /* that the STORE answered */
  ANSWER_MOST,    /* of a quota */
  ANSWER_HORIZON, /* unix time up to which requests may have been forgotten */
  ANSWER_ONE,     /* 1 and 0, whatever the record */
  ANSWER_ZERO,
  /* bulk strings; null when the record has none */
  ANSWER_STAGE,
  ANSWER_OWNER,
  ANSWER_BODY,
  ANSWER_META,
};

static inline bool answer_is_integer(enum answer_field field) { return field < ANSWER_STAGE; }

enum answer_shape { ANSWER_IS_ARRAY, ANSWER_IS_INTEGER, ANSWER_IS_NULL, ANSWER_IS_ERROR };

#define ANSWER_MAX_FIELDS 5
struct answer_form {
  enum answer_shape shape;
  struct span text; /* the first element of an array; of an error its code and text, */
  const char *rest; /* and what follows the number in it, if it has one; else NULL */
  size_t count; /* of fields: what follows the word of an array, or is in an error; 1 for an integer
                 */
  enum answer_field fields[ANSWER_MAX_FIELDS]; /* ANSWER_NO_FIELD from count on */
};

/* By enum answer_kind. */
extern const struct answer_form ANSWER_FORMS[ANSWER_KINDS];

/* The text of an error without a number, terminated. */
static inline const char *answer_error(enum answer_kind kind) {
  return ANSWER_FORMS[kind].text.data;
}

#endif
