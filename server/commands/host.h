/*
 * host.h - what the commands act upon: one server without its network.
 *
 * net/ makes one, embeds it and drives it: feeds commands in (command.h), sends what clients have
 * to say (host.unsent), and tells the time once a turn. Several hosts can live in one process.
 */
#ifndef IDEM_SERVER_COMMANDS_HOST_H
#define IDEM_SERVER_COMMANDS_HOST_H

#include "server/commands/client.h"
#include "server/engine/engine.h"
#include "server/ops/log.h"
#include "server/ops/options.h"

struct command_index;
struct pubsub;
struct slowlog;

/* Counted by the command rows; index as in the table. */
struct command_stats {
  uint64_t calls, nanoseconds, rejected, failed;
};

/* Commands of one kind in a row that are measured together; see command.c. */
struct stretch {
  const struct command *command;
  struct client *client;
  unsigned calls; /* 0: none */
};

struct host_counters {
  uint64_t connections, connections_refused, commands, protocol_errors, auth_failures;
  uint64_t bytes_in, bytes_out;
  uint64_t closed_by_output_limit, closed_by_input_limit;
  uint64_t peak_clients;
};

struct client_address {
  char peer[CLIENT_ADDRESS_BYTES], local[CLIENT_ADDRESS_BYTES];
  int fd;
  size_t input_bytes, output_bytes; /* buffered */
};

/* What the network knows and a command may ask. */
typedef void host_describe(const struct client *client, struct client_address *address);
/* CONFIG SET has changed the options: what was copied from them at start is to be copied again. */
typedef void host_reconfigured(struct host *host);

struct host {
  struct engine *engine;
  struct options *options;
  struct log *log;
  struct command_index *commands;
  struct command_stats *stats;
  struct pubsub *pubsub;
  struct slowlog *slowlog;
  host_describe *describe;
  host_reconfigured *reconfigured;

  struct list clients; /* struct client.link */
  struct list unsent;  /* struct client.unsent */
  struct resp_output **spare_outputs;
  size_t spare_count;
  struct resp_output lost_output; /* stands in when no output can be allocated: takes nothing */
  uint64_t client_count, waiting_count, monitor_count;
  uint64_t next_client_id;
  size_t sending_bytes; /* of all clients: handed over and not yet taken by the kernel */

  int64_t now_ms;    /* this turn, on the engine's clock */
  uint64_t stamp_ns; /* when the clock was read last, in this batch; 0: not yet */
  struct stretch stretch;
  int64_t wall_offset_ms; /* unix time = now_ms + wall_offset_ms */
  int64_t started_ms;
  size_t unasked_bytes; /* command_unasked_bytes of the options */
  int port;             /* that listens; 0 none */
  char run_id[41];
  struct host_counters counters;
  int64_t pause_until_ms; /* CLIENT PAUSE; 0 none */
  bool pause_writes_only;
  bool shutdown_wanted; /* SHUTDOWN was called */
  bool draining;        /* nothing waits any more */
};

/* Outputs kept for the next turn, so that a busy server allocates none. */
#define HOST_SPARE_OUTPUTS 64
/* A spare output gives back a larger buffer than this. */
#define HOST_SPARE_BYTES (64u * 1024)

/* Both sides of memory are the host's: false when it is short. Engine, options, log and callbacks
 * are set by the caller. */
bool host_init(struct host *host, struct engine *engine, struct options *options, struct log *log,
               int64_t now_ms);
void host_deinit(struct host *host);

/* An empty output from the spares, NULL when memory is short; and back, when its pins have been
 * released. */
struct resp_output *host_output_take(struct host *host);
void host_output_give(struct host *host, struct resp_output *out);
/* Releases every reference that the output holds. */
void host_output_unpin(struct host *host, struct resp_output *out);

#endif
