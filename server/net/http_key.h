/*
 * http_key.h - how much of a key is shown, and how.
 *
 *     whole       order-2024-11-...        a long one is shortened in the middle, with the whole as
 *                                          its title
 *     not whole   …8-7f3a9c21              its end: HTTP_KEY_TAIL characters, at most half of it
 *
 * Bytes that are no characters count as one each. Pure; all that it writes is escaped.
 */
#ifndef IDEM_SERVER_NET_HTTP_KEY_H
#define IDEM_SERVER_NET_HTTP_KEY_H

#include "server/net/http_text.h"

#define HTTP_KEY_TAIL 8u
/* Longest that is shown without being shortened, and what is left of a longer one: in
 * characters. */
#define HTTP_KEY_SHOWN 56u
#define HTTP_KEY_FRONT 32u
#define HTTP_KEY_BACK 16u

/* The part of a key that may be shown. */
struct span http_key_part(struct span key, bool whole);

/* As an element of HTML. cut: the key has more bytes than these. */
void http_key_html(struct http_text *text, struct span key, bool whole, bool cut);
/* Whole, as an argument that redis-cli reads, for HTML. */
void http_key_argument(struct http_text *text, struct span key);

#endif
