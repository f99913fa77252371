/*
 * web.h - as much HTTP as the examples need, on libmicrohttpd: a request with its whole body, a
 * response.
 *
 * It knows nothing of idempotency. Each connection has a thread of its own, so a handler may block
 * (waiting for the first run of a duplicate). What a handler takes from the request lives until it
 * returns.
 */
#ifndef IDEM_EXAMPLES_WEB_H
#define IDEM_EXAMPLES_WEB_H

#include <stddef.h>
#include <stdio.h>

#define WEB_BODY_LIMIT_BYTES ((size_t)1024 * 1024) /* over it: 413 */
#define WEB_CONNECTIONS_LIMIT 200
#define WEB_IDLE_TIMEOUT_S 120

struct web_text {
  const char *data; /* NULL: there is none */
  size_t len;
};

struct web_request {
  const char *method;
  const char *path;   /* decoded */
  const char *target; /* path and query as they came */
  const char *body;   /* followed by a NUL; may have others inside */
  size_t body_len;
  void *connection; /* private */
};

/* Zero-filled it is an empty response; the server frees what is in it. */
struct web_response {
  int status;
  int broken; /* 1: memory was missing for a part of it. It is sent as a 500 */
  char *body; /* malloc'd */
  size_t body_len;
  char *headers; /* malloc'd lines "Name: value\n"; NULL: none */
};

typedef void web_handler(const struct web_request *request, struct web_response *response,
                         void *context);

/* The first of that name. NULL when the request has none. */
const char *web_header(const struct web_request *request, const char *name);
size_t web_header_count(const struct web_request *request, const char *name);

/* Fields NAME=VALUE&NAME=VALUE: what follows the question mark, or "". */
struct web_text web_query(const struct web_request *request);
/* The body when it is application/x-www-form-urlencoded, else none. */
struct web_text web_form(const struct web_request *request);
size_t web_field_count(struct web_text fields, const char *name);
/* The value of the first field of that name, decoded, cut to size and followed by a NUL. Returns
 * its length before it was cut; "" and 0 when there is none. */
size_t web_field(struct web_text fields, const char *name, char *out, size_t size);
/* All fields as they are but those of that name (NULL: all). */
void web_put_fields_without(FILE *out, struct web_text fields, const char *name);

/* Sets status and body and adds a Content-Type. Without memory the response is broken. */
__attribute__((format(printf, 4, 5))) void web_answer(struct web_response *response, int status,
                                                      const char *type, const char *format, ...);
/* An application/problem+json (RFC 9457); title and detail without quotes inside. */
void web_problem(struct web_response *response, int status, const char *title, const char *detail);
__attribute__((format(printf, 3, 4))) void web_add_header(struct web_response *response,
                                                          const char *name, const char *format,
                                                          ...);
/* A copy of body. */
void web_set_body(struct web_response *response, const void *body, size_t len);
void web_response_clear(struct web_response *response);

/*
 * Serves on 127.0.0.1:port (0: the kernel picks), says "listening on PORT" on stdout, and returns
 * after SIGINT or SIGTERM when the requests that run are answered. Call it before there are other
 * threads. 0, or -1 with a message on stderr.
 */
int web_serve(int port, web_handler *handler, void *context);

#endif
