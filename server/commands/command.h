/*
 * command.h - the command table and the way of one command through it.
 *
 * Adding a command is one row in table.c and one handler. From the row follow arity,
 * authentication, size limits, COMMAND, COMMAND DOCS, HELP, counters and what MULTI does with it.
 */
#ifndef IDEM_SERVER_COMMANDS_COMMAND_H
#define IDEM_SERVER_COMMANDS_COMMAND_H

#include "server/commands/worker.h"

#define COMMAND_READS 1u
#define COMMAND_WRITES 2u
#define COMMAND_WAITS 4u /* may keep its connection waiting */
#define COMMAND_ADMIN 8u
#define COMMAND_BEFORE_AUTH 16u
#define COMMAND_FAST 32u
#define COMMAND_PUBSUB 64u      /* allowed while a RESP2 connection listens */
#define COMMAND_NOT_QUEUED 128u /* MULTI does not queue it */
#define COMMAND_NOT_IN_MULTI 256u
#define COMMAND_LOADS_MEMORY 512u /* may be refused at the memory limit */
#define COMMAND_IDEM 1024u        /* also answers to IDEM.<name> */
#define COMMAND_ALL_KEYS 4096u    /* uses all shards, not those of its keys alone */
#define COMMAND_STOPS 8192u       /* runs while the other loops stand still */
#define COMMAND_SPREADS 16384u    /* costs as much as there are others whom it tells */
#define COMMAND_CONTAINER                                                 \
  2048u /* has subcommands, NAME|SUB; runs alone only if it has a handler \
         */

enum command_group {
  GROUP_IDEM,
  GROUP_GENERIC,
  GROUP_STRING,
  GROUP_PUBSUB,
  GROUP_TRANSACTIONS,
  GROUP_CONNECTION,
  GROUP_SERVER
};

struct call {
  struct worker *worker;
  struct session *session;
  const struct command *command;
  struct shard *shard;     /* of its key, locked; NULL: none, or several */
  struct engine *engine;   /* the shard's */
  const struct span *argv; /* argv[0] is the name; borrowed until the handler returns */
  size_t argc;
  const struct engine_name *name; /* of argv[1]; NULL: not worked out */
  size_t bytes;                   /* about, of all arguments */
  struct resp_writer *reply;
  int64_t now_ms;
  bool in_exec; /* must not wait */
};

typedef void command_handler(struct call *call);
/* The most bytes of argv[index], given those in front of it. */
typedef size_t command_limit(const struct options *options, const struct span *argv, size_t index);

struct command {
  const char *name;     /* upper case; a subcommand is "CONTAINER|SUB" */
  command_handler *run; /* NULL for a container */
  int arity; /* with the name; negative: at least so many. A subcommand counts both words */
  unsigned flags;
  int first_key, last_key, step; /* 0 0 0: none; last_key -1: to the end */
  command_limit *limit;          /* NULL: key_limit at the key positions, body_limit elsewhere */
  enum command_group group;
  const char *syntax; /* arguments behind the name(s), as in "key [LEASE milliseconds] [BIND]" */
  const char *summary;
};

/* The rows, in table.c. */
extern const struct command COMMAND_TABLE[];
extern const size_t COMMAND_COUNT;

/* NULL when memory is short. */
struct command_index *command_index_create(void);
void command_index_destroy(struct command_index *index);
/* The row of a command, or of a subcommand, with or without the prefix IDEM. */
const struct command *command_find(const struct command_index *index, struct span name);
const struct command *command_find_sub(const struct command_index *index, struct span name,
                                       struct span sub);
const char *command_group_name(enum command_group group);
/* The name as replies show it, in lower case. */
#define COMMAND_NAME_BYTES 64
void command_name(const struct command *command, char name[COMMAND_NAME_BYTES]);

/* Whether argv[index] is a key of the row, for an argc that is not known yet (SIZE_MAX). */
bool command_is_key(const struct command *command, size_t index, size_t argc);

/* resp_read_argument_limit for a reader whose context is the host. */
size_t command_argument_limit(void *context, const struct span *argv, size_t index);
/* Whether argv[index] of the command is what a record keeps: its body. */
bool command_is_body(const struct worker *worker, const struct span *argv, size_t index);
/* Whether it takes some microseconds at most, whatever there is: it has a key, or is fast without
 * one. NULL, no command, is refused in as little. */
#define COMMAND_SHORT_ARGS 8u
static inline bool command_is_short(const struct command *command, size_t argc) {
  if (command == NULL) return true;
  bool bounded = (command->flags & COMMAND_FAST) != 0 || command->first_key == 1;
  return bounded && (command->flags & COMMAND_SPREADS) == 0 && argc <= COMMAND_SHORT_ARGS;
}
/* Whether all arguments are within those limits. */
bool command_sizes_fit(const struct worker *worker, const struct command *command,
                       const struct span *argv, size_t argc);

/* A command as it was read, and what was found out about it meanwhile. */
struct request {
  const struct span *argv;
  size_t argc;
  const struct command *command;  /* the row of argv[0]; NULL: there is none */
  const struct engine_name *name; /* of argv[1], its only key; NULL: not worked out */
  bool judged;                    /* its sizes fit, by this row, which is no container's */
  size_t bytes;                   /* that it took on the wire, if it is judged */
};

/* CLIENT PAUSE holds it back: it is to be presented again, and what comes behind it too, when the
 * pause is over. */
bool command_postponed(const struct worker *worker, const struct session *session,
                       const struct request *request);

/*
 * Runs one command: the reply goes to the client's output, or session->waiting is set and the reply
 * comes later. toobig says that the reader skipped it.
 */
void command_run(struct worker *worker, struct session *session, const struct request *request);
void command_toobig(struct worker *worker, struct session *session, size_t index, size_t limit);
/* The reader found the framing broken; the caller closes the connection. */
void command_malformed(struct worker *worker, struct session *session, const char *error);
/* Behind the commands of one connection in one turn: what was measured together is over. */
void command_batch_end(struct worker *worker);
/* What it needs locked: what each row says of its keys and flags; in EXEC the most that any of its
 * commands needs. */
enum command_reach {
  COMMAND_REACHES_NOTHING,
  COMMAND_REACHES_A_KEY,
  COMMAND_REACHES_ALL,   /* shards */
  COMMAND_REACHES_OTHERS /* loops, and all shards */
};
enum command_reach command_reach(const struct command *command, size_t argc);
/* Locks it, and unlocks. Inside EXEC everything is locked already. */
void command_lock(struct call *call, enum command_reach reach);
void command_unlock(struct call *call, enum command_reach reach);
struct engine *call_engine(const struct call *call, struct span key); /* of several, all held */
/* The handler, measured by itself. For EXEC, which has judged the rest. */
void command_call(struct call *call);

/* Replies that several families use. */
void reply_ok(struct call *call);
void reply_syntax_error(struct call *call);
void reply_wrongtype(struct call *call);
void reply_oom(struct call *call);
RESP_WRITE_COLD void reply_request_error(struct resp_writer *reply,
                                         const struct request_error *error);
void reply_body(struct call *call, struct engine_blob *body);
/* A blob and its bytes; from REPLY_PINNED_BYTES on they are sent from where they lie, without a
 * copy, shorter ones join the other replies of the turn in one buffer. The shard, whose blob it is,
 * is locked. */
#define REPLY_PINNED_BYTES (16u * 1024)
void reply_blob(struct resp_writer *reply, struct shard *shard, struct engine_blob *blob,
                struct span bytes);
/* A number argument; replies `-ERR value is not an integer or out of range` and returns false
 * otherwise. */
bool parse_integer(struct call *call, struct span text, long long *value);

#endif
