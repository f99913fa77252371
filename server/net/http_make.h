/*
 * http_make.h - the answers that take work: gathered and written in slices at the end of a turn,
 * so that nobody waits for them longer than HTTP_TURN_NS and the writing of one.
 *
 *     http.waiting -> in the cache? -> resumed, up to HTTP_TURN_BYTES in a turn
 *                  \-> gathered? -> written, one in a turn -> the cache
 *                  \-> a slice of gathering
 */
#ifndef IDEM_SERVER_NET_HTTP_MAKE_H
#define IDEM_SERVER_NET_HTTP_MAKE_H

#include "server/net/http_state.h"

/* Goes on with those that wait. */
void http_make_turn(struct http *http);

#endif
