/*
 * request.h - what the six commands ask: arguments + limits -> struct request_claim and its kin.
 *
 * Here stand the words of the commands, their limits and defaults, and the text of every error that
 * they can make. Pure: no memory, no clock, no replies; a request borrows the arguments that it was
 * read from. It must not know what a request does to a record (rules.h), nor what only the caller
 * knows: what BIND binds to, and whether this request may wait now.
 *
 * Invariants: a request that was parsed has its defaults filled in, and its numbers are within the
 * limits. The sizes of its arguments are not checked here: the caller does that as they arrive,
 * with request_limit. Any thread may call any function.
 */
#ifndef IDEM_SERVER_RULES_REQUEST_H
#define IDEM_SERVER_RULES_REQUEST_H

#include "proto/span.h"
#include "server/rules/rules.h"

/* ---- limits ---- */

/* The configured limits; all above 0. The fields are signed so that they can be set like any other
 * numeric option. */
struct request_limits {
  int64_t lease_ms, lease_max_ms; /* of a CLAIM that names none; the longest */
  int64_t ttl_ms, ttl_max_ms;     /* of a STORE that names none; the longest */
  int64_t wait_max_ms;            /* the longest wait; longer ones are cut to it, 0 asks for it */
  int64_t key_bytes, fingerprint_bytes, owner_bytes, stage_bytes, meta_bytes, body_bytes;
};

/* The names of options, and numbers. */
#define REQUEST_WORD_BYTES 64
/* STORE key token body ... */
#define REQUEST_STORE_BODY 3

/* The most bytes that argv[index] may have, index > 0, given the arguments before it: each option's
 * value has a limit of its own. */
size_t request_limit(const struct request_limits *limits, const struct span *argv, size_t index);
/* What argv[index] is called in an error, index > 0: "key", "owner" and so on, or "argument". */
const char *request_argument_name(const struct span *argv, size_t index);
/* The same two for STORE, whose body stands where the other commands have options. */
size_t request_store_limit(const struct request_limits *limits, const struct span *argv,
                           size_t index);
const char *request_store_argument_name(const struct span *argv, size_t index);
/* The smallest limit: an argument of at most so many bytes is within all of them. */
size_t request_least_limit(const struct request_limits *limits);

/* ---- errors ---- */

enum request_fault {
  REQUEST_UNKNOWN_OPTION,  /* quoted */
  REQUEST_REPEATED_OPTION, /* quoted */
  REQUEST_NO_VALUE,        /* quoted: the option that needs one */
  REQUEST_NO_INTEGER,      /* name */
  REQUEST_NEGATIVE,        /* name */
  REQUEST_EMPTY,           /* name */
  REQUEST_OUT_OF_BOUNDS,   /* name, least, most: of a duration */
  REQUEST_TWO_WORDS,       /* UNSURE and CLEAR */
  REQUEST_WORD_ALONE,      /* name: of a word that only STORE with TTL 0 takes */
  REQUEST_BORN_LATER,      /* BORN is after now. Only the caller finds it */
  REQUEST_TOO_BIG,         /* name, most: of an argument's bytes. Only the caller finds it */
};

struct request_error {
  enum request_fault fault;
  const char *name;   /* of the argument, as in "LEASE": a constant */
  struct span quoted; /* borrowed from the arguments: any bytes */
  int64_t least, most;
};

/* The text to reply, terminated. It begins with its code and is printable ASCII, whatever the
 * client sent. */
#define REQUEST_ERROR_BYTES 1025
void request_error_text(const struct request_error *error, char text[REQUEST_ERROR_BYTES]);

/* ---- requests ---- */

/* All arguments of one command, its name first. The caller has checked that there are at least as
 * many as the command needs. */
struct request_input {
  const struct span *argv;
  size_t argc;
  const struct request_limits *limits;
};

/* A span that was not given is absent. */
struct request_claim {
  struct span key, fingerprint, owner;
  int64_t lease_ms;  /* 1 to lease_max_ms */
  int64_t wait_ms;   /* 1 to wait_max_ms; 0: does not wait */
  int64_t born_ms;   /* unix time, if `born` */
  uint64_t takeover; /* 0: none */
  bool bind, hold, born;
};
struct request_store {
  struct span key, body, meta;
  uint64_t token;
  int64_t ttl_ms;       /* 0 to ttl_max_ms */
  enum rules_word word; /* with TTL 0 */
};
struct request_renew {
  struct span key, stage;
  uint64_t token;
  int64_t lease_ms; /* 1 to lease_max_ms; 0: the length last granted */
};
struct request_release {
  struct span key;
  uint64_t token;
  enum rules_word word;
};
/* FETCH and WAIT. */
struct request_read {
  struct span key, fingerprint;
  int64_t wait_ms; /* FETCH: 0; WAIT: 1 to wait_max_ms */
};

/* Each returns false with *error set, and leaves the request undefined, when the arguments are
 * wrong. The first error counts, from left to right; bounds are checked after all words. */
bool request_parse_claim(const struct request_input *input, struct request_claim *claim,
                         struct request_error *error);
bool request_parse_store(const struct request_input *input, struct request_store *store,
                         struct request_error *error);
bool request_parse_renew(const struct request_input *input, struct request_renew *renew,
                         struct request_error *error);
bool request_parse_release(const struct request_input *input, struct request_release *release,
                           struct request_error *error);
bool request_parse_fetch(const struct request_input *input, struct request_read *read,
                         struct request_error *error);
bool request_parse_wait(const struct request_input *input, struct request_read *read,
                        struct request_error *error);

#endif
