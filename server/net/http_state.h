/*
 * http_state.h - what the HTTP port consists of: data only. http.h has its life, and tells how its
 * files work together.
 */
#ifndef IDEM_SERVER_NET_HTTP_STATE_H
#define IDEM_SERVER_NET_HTTP_STATE_H

#include <uv.h>

#include "server/commands/overview.h"
#include "server/commands/rates.h"
#include "server/net/http_cache.h"
#include "server/net/http_count.h"
#include "server/net/http_sockets.h"

struct http;
struct loop;
struct MHD_Connection;
struct MHD_Daemon;

#define HTTP_CONNECTIONS 64u
/* For a request to arrive whole, from the opening or the last answer on; and for its answer to be
 * taken. */
#define HTTP_TIMEOUT_MS 10000
/* What the library may take for a connection: the lines of a request, and the head of its answer.
 * Browsers send the cookies of whatever else runs on this machine. */
#define HTTP_REQUEST_BYTES (16u * 1024)
/* Answers that go on their way in a turn, and how long gathering takes in it. */
#define HTTP_TURN_BYTES (64u * 1024)
#define HTTP_TURN_NS 500000u
/* What was gathered is shown for so long. */
#define HTTP_FRESH_MS 1000

enum http_phase {
  HTTP_FREE,
  HTTP_READS, /* the next request is on its way, or not even that */
  HTTP_WAITS, /* suspended, and in http.waiting: its answer has to be made */
  HTTP_SENDS
};

struct http_conn {
  enum http_phase phase;
  int fd;     /* the library's */
  bool local; /* from the machine itself */
  struct MHD_Connection *connection;
  int64_t deadline_ms;
  uint64_t moved; /* into this phase, in the order of http.moves */
  struct list link;
  struct http_view view;            /* what it waits for */
  const struct http_cached *answer; /* of the cache: what it is resumed for */
  bool resumed;
};

enum http_gathering { HTTP_NOTHING, HTTP_GATHERS, HTTP_GATHERED };

struct http {
  const struct options *options;
  struct log *log;
  struct loop *loop;          /* the first; NULL: there is none yet, nothing is restored */
  unsigned restored_per_cent; /* of the journal, while there is no loop */
  struct MHD_Daemon *daemon;
  struct http_sockets sockets;
  uv_poll_t polls[HTTP_SOCKETS_MAX], ready; /* of the sockets; of the library's epoll */
  unsigned poll_count;                      /* the loop has these handles, and `ready` */
  struct http_conn conns[HTTP_CONNECTIONS];
  unsigned open;
  uint64_t moves;
  struct list waiting; /* the longest first */
  bool more;           /* the library has more to do at once */
  bool closing;        /* nothing is answered any more */
  bool stalled;        /* those that wait cannot go on before time passes */
  enum http_gathering gathering;
  int64_t gathered_ms;
  struct overview *overview;
  struct rates rates;
  struct http_cache cache;
  struct http_count count;
};

#endif
