/*
 * http_conns.h - the connections of the HTTP port: HTTP_CONNECTIONS at most, each with a deadline.
 *
 * When all are taken, the one that has been waited for longest makes room: so a few that say
 * nothing keep no scraper out. None is closed for that while its answer is made or sent.
 */
#ifndef IDEM_SERVER_NET_HTTP_CONNS_H
#define IDEM_SERVER_NET_HTTP_CONNS_H

#include "server/net/http_state.h"

/* Takes what waits at the socket, a few at most. False: it can take no more for now. */
bool http_conns_accept(struct http *http, int socket, int64_t now_ms);
/* Closes those that are late, and those that have had their last answer: the client has closed its
 * side. */
void http_conns_check(struct http *http, int64_t now_ms);

void http_conns_move(struct http *http, struct http_conn *conn, enum http_phase phase,
                     int64_t now_ms);
/* The library's connection is now one of ours, or is gone. */
void http_conns_opened(struct http *http, struct MHD_Connection *connection, void **context);
void http_conns_closed(struct http *http, struct http_conn *conn);

/* The library works on what has arrived. */
void http_conns_run(struct http *http);
/* Goes on with a connection that waits; answer NULL: it is closed. */
void http_conns_resume(struct http *http, struct http_conn *conn, const struct http_cached *answer,
                       int64_t now_ms);

#endif
