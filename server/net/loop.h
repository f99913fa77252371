/*
 * loop.h - what the files of net/ share: the loop with its host, and connections. See server.h for
 * the turn.
 *
 * Invariants:
 *  - a connection that has commands left to run is in server.runnable, unless it waits or its
 * output is over the limit;
 *  - an idle connection owns no buffer: input exists only while a command is incomplete or has to
 * wait, output only until it is sent;
 *  - client->waiter of a connection that does not wait is a grant whose reply is not yet known to
 * be written.
 */
#ifndef IDEM_SERVER_NET_LOOP_H
#define IDEM_SERVER_NET_LOOP_H

#include <uv.h>

#include "proto/resp_read.h"
#include "server/commands/command.h"
#include "server/net/batch.h"
#include "server/net/server.h"

/* One read takes at most this; what a connection sends beyond it waits for the next wake-up. */
#define LOOP_READ_BYTES (64u * 1024)
/* Commands of one connection in one turn; then the others have theirs. */
#define LOOP_COMMANDS_PER_TURN 512u
/* Steps of the engine, waiters answered, and connections resumed in one turn: about a millisecond
 * at the outside. */
#define LOOP_TICK_STEPS 1000u
#define LOOP_WAITERS_PER_TURN 256u
#define LOOP_RESUMED_PER_TURN 256u
/* Bytes that a connection may have behind a command that waits. */
#define LOOP_INPUT_BEHIND_WAIT (1024u * 1024)
/* Housekeeping: how often, and how many connections it looks at each time. */
#define LOOP_CRON_MS 100u
#define LOOP_CRON_CONNECTIONS 1000u
/* How long a connection that we ended may stay half open. */
#define LOOP_LINGER_MS 1000u
/* All arguments of a command: the largest body, and room for the largest list of keys. */
#define LOOP_COMMAND_BYTES (64u * 1024 * 1024)
#define LOOP_LISTENERS (OPTIONS_MAX_BIND + 1)

/* Bytes that could not be run yet. [start, len) are valid. */
struct input {
  struct resp_reader reader;
  char *bytes;
  size_t start, len, capacity;
};

struct peer {
  union {
    uv_handle_t handle;
    uv_stream_t stream;
    uv_tcp_t tcp;
    uv_pipe_t pipe;
  } uv;
  struct client client;
  struct server *server;
  struct input *input;  /* NULL when there is nothing */
  struct list runnable; /* in server.runnable */
  int64_t progress_ms;  /* when a write last ended, while something is being sent */
  uint32_t sending_count;
  bool postponed;      /* CLIENT PAUSE holds its next command back */
  bool reading, ended; /* ended: the peer will send no more */
  bool lingering;      /* all was sent, the end too: waits for the peer to close */
  bool closing;
};

struct listener {
  union {
    uv_handle_t handle;
    uv_stream_t stream;
    uv_tcp_t tcp;
    uv_pipe_t pipe;
  } uv;
  struct server *server;
  bool open;
};

struct server {
  uv_loop_t loop;
  uv_check_t check;
  uv_idle_t busy; /* runs while there is work, so that the loop does not sleep */
  uv_timer_t due, cron, drain_deadline;
  uv_signal_t terminate, interrupt;
  uv_async_t stop;
  struct host host;
  struct log *log;
  struct listener listeners[LOOP_LISTENERS];
  unsigned listener_count;
  struct list runnable;
  struct list *review; /* whom in host.clients the housekeeping comes to next; NULL: the first */
  struct resp_reader reader; /* for input that arrives whole */
  size_t input_bytes;        /* capacity of all inputs */
  char *unixsocket;          /* to be removed at the end */
  int64_t due_ms;            /* what the timer is set to */
  unsigned drain_turns;
  bool draining;
  struct batch batch;
  char read_buffer[LOOP_READ_BYTES];
};

/* The clock, asked once for each batch of commands: a lease must not begin in the past because the
 * turn had much to do. Not uv_now, which libuv may take from a coarser clock. */
static inline uint64_t server_see_time(struct server *server) {
  uint64_t now_ns = uv_hrtime();
  server->host.now_ms = (int64_t)(now_ns / 1000000);
  return now_ns;
}

/* peer.c */
void peer_accept(struct server *server, struct listener *listener);
void peer_close(struct peer *peer);
/* Runs what is left in the input, as far as its share goes. */
void peer_resume(struct peer *peer);
/* Sends what the client has to be told. May close. */
void peer_flush(struct peer *peer);
/* The engine has an answer for the connection: writes it, or takes a grant back when the peer is
 * gone. */
void peer_answer(struct server *server, struct engine_waiter *waiter);
/* Closes what is idle or stuck for too long. */
void peer_review(struct peer *peer);
void peer_describe(const struct client *client, struct client_address *address);
struct peer *peer_of(struct client *client);

/* listener.c: false with the reason in error. */
bool listeners_open(struct server *server, char error[OPTIONS_ERROR_BYTES]);
void listeners_close(struct server *server);

/* server.c */
void server_drain(struct server *server, const char *why);
void server_setup_reader(struct server *server, struct resp_reader *reader);

#endif
