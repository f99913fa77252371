/*
 * http.h - the HTTP port: /metrics, /healthz, /readyz, the status page and claims.json. It only
 * shows.
 *
 *     http_sockets    listens
 *     http_conns      the connections, their deadlines
 *     http_serve      one request: may it, what does it ask for        <- the library's callbacks
 *     http_make       the answers that take work, in slices
 *       http_page     the status page: http_style, http_chart, http_key, http_format, http_text
 *       http_json     claims.json
 *     http_cache      what was made a moment ago
 *     http_host, http_count
 *
 * libmicrohttpd parses and sends; it has no thread and no listening socket. It tells of its
 * connections by one epoll descriptor, which the first loop watches; before there is a loop,
 * http_work is called now and then. Only these files know the library.
 *
 * All belongs to the first loop's thread. Every function takes NULL: the port is off.
 */
#ifndef IDEM_SERVER_NET_HTTP_H
#define IDEM_SERVER_NET_HTTP_H

#include <stdbool.h>

#include "server/ops/log.h"
#include "server/ops/options.h"

struct http;
struct loop;

/* Descriptors that the port may have open, besides those of connections of clients. */
#define HTTP_DESCRIPTORS 96

/* Listens, if the options want it: *http is NULL otherwise. False with the reason. Options and log
 * are borrowed. */
bool http_open(struct http **http, const struct options *options, struct log *log,
               char error[REFUSAL_BYTES]);
/* Frees it and closes its connections; the loop's thread has ended, or is the caller's. */
void http_close(struct http *http);

/* Takes and answers what has arrived, without waiting: call it often while there is no loop.
 * per_cent: of the journal, that is restored. */
void http_work(struct http *http, unsigned per_cent);
/* The loop is the first one, with all that it serves; it drives the port from here on. 0, or a
 * libuv error. */
int http_attach(struct http *http, struct loop *loop);

/* Duties of the first loop (loop.h). */
void http_turn(struct http *http);
bool http_left_work(const struct http *http);
void http_cron(struct http *http);

#endif
