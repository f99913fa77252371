/*
 * loop.h - what the files of net/ share: the server with its loops, each with its host, and
 * connections. See server.h for the turn.
 *
 * Everything that a loop owns is touched by its own thread only, within a turn, or by a thread that
 * made all loops stand still between two of their turns. What is _Atomic or has a lock is for all.
 *
 * Invariants:
 *  - a connection that has commands left to run is in loop.runnable, unless it is blocked
 * (session_blocked), paused, or its output is over the limit;
 *  - an idle connection owns no buffer: input exists only while a command is incomplete or has to
 * wait, output only until it is sent;
 *  - session->waiter of a connection that does not wait is a grant whose reply is not yet known to
 * be written.
 */
#ifndef IDEM_SERVER_NET_LOOP_H
#define IDEM_SERVER_NET_LOOP_H

#include <pthread.h>
#include <uv.h>

#include "proto/resp_read.h"
#include "server/commands/session.h"
#include "server/base/allocator.h"
#include "server/net/batch.h"
#include "server/net/input.h"
#include "server/net/server.h"

/* What one read takes, but into a body that is received apart (input.h). */
#define LOOP_READ_BYTES (64u * 1024)
/*
 * One connection's share of a turn: so many commands, so long, or so many bytes of replies,
 * whichever is used first. Then the others have theirs.
 */
#define LOOP_COMMANDS_PER_TURN 512u
#define LOOP_SHARE_NS 1000000u
#define LOOP_SHARE_BYTES (1024u * 1024)
/* What each part of a turn may take, and with it what a short command waits for at the outside.
 * When reading has lasted so long, each further connection has one batch and no more. */
#define LOOP_READING_NS 5000000u
#define LOOP_TICK_STEPS 1000u /* of the engine: about a millisecond */
#define LOOP_WAITERS_NS 2000000u
#define LOOP_RESUMED_NS 3000000u
#define LOOP_SENDING_NS 3000000u
#define LOOP_TASKS_NS 1000000u
/* Bytes that a connection may have behind a command that waits. */
#define LOOP_INPUT_BEHIND_WAIT (1024u * 1024)
/* Housekeeping: how often, and how many connections it looks at each time. */
#define LOOP_CRON_MS 100u
#define LOOP_CRON_CONNECTIONS 1000u
#define LOOP_CRON_LATE 250u /* closed each time because their command did not arrive in time */
/* When the loop stood still for so long, what connections have sent meanwhile lies in their
 * sockets: none is closed for being late or idle before all of it can have been read. */
#define LOOP_STALL_MS 250
#define LOOP_AFTER_STALL_MS 1000
/* How long a connection that we ended may stay half open. */
#define LOOP_LINGER_MS 1000u
/* All arguments of a command: the largest body, and room for the largest list of keys. */
#define LOOP_COMMAND_BYTES (64u * 1024 * 1024)
/* Connections on their way to a loop; further ones stay with the loop that accepts. */
#define LOOP_HANDED_MAX 1024u
#define LOOP_LISTENERS (OPTIONS_BIND_MAX + 1)

/*
 * All that an idle connection costs. A unix socket is a uv_tcp_t too, which libuv takes for any
 * stream socket: uv_pipe_t is larger, and what it has more is for names and for passing
 * descriptors.
 */
struct conn {
  union {
    uv_handle_t handle;
    uv_stream_t stream;
    uv_tcp_t tcp;
  } uv;
  struct session session;
  struct input *input;     /* NULL when there is nothing */
  struct list runnable;    /* in loop.runnable */
  uint32_t sending_count;  /* writes that libuv has */
  uint32_t progress_ms;    /* something was last taken, or lingering began; see since_progress_ms */
  uint32_t unacknowledged; /* bytes that the kernel held for it when conn_review came by */
  bool is_unix : 1;
  bool held_back : 1;          /* commands are left that its own output kept from running */
  bool postponed : 1;          /* CLIENT PAUSE holds its next command back */
  bool reading : 1, ended : 1; /* ended: the peer will send no more */
  bool lingering : 1;          /* all was sent, the end too: waits for the peer to close */
  bool closing : 1;
};

/* Once it is closed its place is not used again: libuv has the handle until the loop's next turn.
 */
struct listener {
  uv_poll_t poll;
  struct loop *loop;
  int fd;
  bool is_unix;
  bool open; /* the loop has the handle; it rests (accept_resume) when it is not active */
};

/* Connections that the accepting loop has given to another one. */
struct handed {
  pthread_mutex_t lock;
  int fds[LOOP_HANDED_MAX];
  bool is_unix[LOOP_HANDED_MAX];
  unsigned count;
  _Atomic bool waiting;
};

struct loop {
  uv_loop_t uv;
  uv_prepare_t prepare;
  uv_check_t check;
  uv_idle_t busy; /* runs while there is work, so that the loop does not sleep */
  uv_timer_t due, cron, drain_deadline;
  uv_async_t wake;
  uv_poll_t reach;       /* see there in loop.c */
  uv_tcp_t first_stream; /* never connected: with its first one libuv sets a descriptor aside, now
                            rather than when they are short */
  struct worker worker;
  struct server *server;
  struct log *log;
  struct list runnable;
  struct list awaited; /* struct input.awaited, since longest first */
  int64_t cron_ms;     /* when the housekeeping was here last */
  int64_t fair_ms;     /* before this nobody is closed for lateness: see LOOP_STALL_MS */
  struct list *review; /* whom in worker.clients the housekeeping comes to next; NULL: the first */
  struct resp_reader reader; /* for input that arrives whole */
  uint64_t stamp_ns;         /* when the clock was read last, in this batch; 0: not yet */
  int64_t due_ms;            /* what the timer is set to */
  uint64_t turn_ns;          /* when this part of the turn began; 0: nothing has been read yet */
  int descriptors;           /* libuv has room for those below it */
  bool reaching;             /* libuv has `reach` */
  unsigned drain_turns;
  int draining; /* as far as server.draining has been followed */
  struct handed handed;
  _Atomic unsigned connections; /* with those that are handed and not yet taken */

  pthread_t thread;     /* but of the first, which runs in the caller's */
  pthread_mutex_t turn; /* held from the first callback behind a poll to the next poll */
  bool in_turn;
  _Atomic bool asleep; /* about to poll, or polling: has to be woken */
  struct batch batch;
  char read_buffer[LOOP_READ_BYTES];
};

struct server {
  struct instance instance;
  struct log *log;
  struct loop *loops[KEYSPACE_MAX_LOOPS];
  unsigned loop_count;
  int descriptors;                  /* that there may be: connections and others */
  uv_signal_t terminate, interrupt; /* these three are the first loop's, as are the listeners */
  uv_async_t stop;
  struct listener listeners[LOOP_LISTENERS];
  unsigned listener_count;
  bool unixsocket_bound;         /* to be removed at the end */
  int spare_fd;                  /* given up to refuse a connection when there is no other left; -1:
                                    it could not be had again */
  int64_t clients_that_fit;      /* under the limit of open files, for certain */
  _Atomic uint64_t connections;  /* of all loops */
  _Atomic int draining;          /* 1: every loop is to drain; 2: at once */
  pthread_mutex_t stopper;       /* held by the loop for which the others stand still */
  _Atomic bool stopping, ending; /* ending: no loop runs any more */
};

/* With libuv's 248 bytes it fills jemalloc's 384; the next size is 448. */
_Static_assert(sizeof(struct conn) <= sizeof(uv_tcp_t) + 136, "an idle connection got larger");
static inline struct loop *conn_loop(const struct conn *conn) {
  return LIST_ENTRY(conn->uv.handle.loop, struct loop, uv);
}

/* ---- turns ---- */

void loop_enter_turn(struct loop *loop);
/* First in every callback of libuv: what the loop owns may be touched from here on. */
static inline void loop_begin(struct loop *loop) {
  if (!loop->in_turn) loop_enter_turn(loop);
}

/* The clock, asked once for each batch of commands: a lease must not begin in the past because the
 * turn had much to do. Not uv_now, which libuv may take from a coarser clock. */
static inline uint64_t loop_see_time(struct loop *loop) {
  uint64_t now_ns = uv_hrtime();
  loop->worker.now_ms = (int64_t)(now_ns / 1000000);
  return now_ns;
}

/* loop.c. NULL, or a libuv error, with the reason said: memory is short. */
int loop_init(struct loop *loop, struct server *server);
/* Runs until the loop has been drained. */
void loop_run(struct loop *loop);
void loop_close_clients(struct loop *loop);
/* Frees what it has; its clients are closed. */
void loop_deinit(struct loop *loop);
void loop_setup_reader(struct loop *loop, struct resp_reader *reader);
/* Gives a connection away, from any thread; false: it has too many that it has not taken yet. */
bool loop_hand(struct loop *loop, int fd, bool is_unix);
/* Connections of the loop, with those that it has been given. From any thread. */
void loop_count_connection(struct loop *loop);
void loop_forget_connection(struct loop *loop);
/* Whether libuv may be given the descriptor: it ends the process where it has no room for it, or
 * where the kernel does not watch it. */
bool loop_has_room(struct loop *loop, int fd);
bool loop_watch(struct loop *loop, int fd);

/* accept.c: listeners, on the first loop only. */
/* Begins to take connections from the socket. 0, or a libuv error. */
int accept_start(struct listener *listener);
void accept_stop(struct listener *listener);
void accept_end(struct server *server); /* all are stopped */
/* Once in a while: listeners that rest, because nothing could be had for a connection, go on. */
void accept_resume(struct server *server);
/* On any loop: serves a connection that the loop has been given, or refuses it. */
void accept_begin(struct loop *loop, int fd, bool is_unix);

/* conn.c */
/* Serves a connection. False: memory is short; fd is still the caller's. */
bool conn_begin(struct loop *loop, int fd, bool is_unix);
void conn_close(struct conn *conn);
/* Runs what is left in the input, as far as its share goes. */
void conn_resume(struct conn *conn);
/* Sends what the client has to be told. May close. */
void conn_flush(struct conn *conn);
/* The engine has an answer for the connection: writes it, or takes a grant back when the peer is
 * gone. */
void conn_answer(struct loop *loop, struct waiter *waiter);
/* A command that took its time has been answered: sends that, and goes on with the next. */
void conn_answered(struct conn *conn);
/* Closes what is idle or stuck for too long. */
void conn_review(struct conn *conn);
/* Whether there is something to read, and it is being read. */
bool conn_has_input(const struct conn *conn);
/* The rest of its command has been awaited for too long: says so, and closes. */
void conn_late(struct conn *conn);
void conn_describe(const struct session *session, struct session_address *address);
struct conn *conn_of(struct session *session);

/* listener.c: false with the reason in error. */
bool listeners_open(struct server *server, char error[REFUSAL_BYTES]);
void listeners_close(struct server *server);

/* server.c */
/* On the first loop only. */
void server_drain(struct server *server, const char *why);
/* The one with the fewest connections. */
struct loop *server_choose_loop(struct server *server);
void server_wake(struct server *server, uint64_t loops);

#endif
