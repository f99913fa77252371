/*
 * http_text.h - a text that grows up to a limit, and how bytes of clients get into HTML and JSON:
 * nothing that a client has chosen leaves this file unescaped.
 *
 * Not thread-safe. It must not know what the text says.
 */
#ifndef IDEM_SERVER_NET_HTTP_TEXT_H
#define IDEM_SERVER_NET_HTTP_TEXT_H

#include "proto/span.h"

/* Longest text: what is over it fails. Who writes many rows stops at HTTP_TEXT_ROWS_MAX. */
#define HTTP_TEXT_MAX (512u * 1024)
#define HTTP_TEXT_ROWS_MAX (448u * 1024)
/* Longest that one http_text_print adds. */
#define HTTP_TEXT_LINE_MAX 1024

/* Zero-filled it is empty. failed: memory was short, or the text too long; it is not to be sent. */
struct http_text {
  char *bytes; /* owned; NULL while empty */
  size_t len, capacity;
  bool failed;
};

void http_text_deinit(struct http_text *text);

/* As they are: only for the server's own words. */
void http_text_put(struct http_text *text, const char *words);
void http_text_print(struct http_text *text, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* One unit of a client's bytes as HTML: as it is when it is a printable character, else as an
 * escape: \n, \xff, \\ or \u{202e}. */
void http_text_html_unit(struct http_text *text, struct span unit);
/* All of them, for an element or an attribute in double quotes. */
void http_text_html(struct http_text *text, struct span bytes);
/* A string of JSON with its quotes; what is not UTF-8 becomes U+FFFD. Safe within HTML, too. */
void http_text_json(struct http_text *text, struct span bytes);

/* Takes the first unit: a character of UTF-8, or one byte that is none. *rest is not empty. */
struct span http_text_take(struct span *rest);
/* Whether all of it is UTF-8. */
bool http_text_is_utf8(struct span bytes);

#endif
