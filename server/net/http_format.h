/* http_format.h - numbers as people read them, for the status page. Pure. */
#ifndef IDEM_SERVER_NET_HTTP_FORMAT_H
#define IDEM_SERVER_NET_HTTP_FORMAT_H

#include "server/net/http_text.h"

/* 1,234,567 */
void http_format_count(struct http_text *text, uint64_t count);
/* 850 ms, 12.3 s, 4 min 12 s, 3 h 5 min, 2 d 4 h */
void http_format_duration(struct http_text *text, int64_t ms);
/* 1.50 MiB */
void http_format_bytes(struct http_text *text, uint64_t bytes);

#endif
