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

struct web_request {
  const char *method;
  const char *path;
  const char *body; /* followed by a NUL; may have others inside */
  size_t body_len;
  void *connection; /* private */
};

/* Zero-filled it is an empty response; the server frees what is in it. */
struct web_response {
  int status;
  char *body; /* malloc'd */
  size_t body_len;
  char *headers; /* malloc'd lines "Name: value\n"; NULL: none */
};

typedef void web_handler(const struct web_request *request, struct web_response *response,
                         void *context);

/* NULL when the request has none. */
const char *web_header(const struct web_request *request, const char *name);
/* Of the query, decoded. NULL when there is none. */
const char *web_argument(const struct web_request *request, const char *name);
/* Of a body that is application/x-www-form-urlencoded, decoded; cut to size. 0 when there is none.
 */
int web_form_value(const struct web_request *request, const char *name, char *out, size_t size);

/* Sets status and body and adds a Content-Type. Without memory the body is missing and the status
 * is 500. */
__attribute__((format(printf, 4, 5))) void web_answer(struct web_response *response, int status,
                                                      const char *type, const char *format, ...);
/* An application/problem+json (RFC 9457); title and detail without quotes inside. */
void web_problem(struct web_response *response, int status, const char *title, const char *detail);
__attribute__((format(printf, 3, 4))) void web_add_header(struct web_response *response,
                                                          const char *name, const char *format,
                                                          ...);
void web_response_clear(struct web_response *response);

/* Status and headers as one text, to be kept beside the body. malloc'd; NULL without memory. */
char *web_response_head(const struct web_response *response);
/* The response again. 0, or -1 when head is none or memory is missing; then it is a 500. */
int web_response_restore(struct web_response *response, const char *head, const void *body,
                         size_t body_len);

/*
 * Serves on 127.0.0.1:port (0: the kernel picks), says "listening on PORT" on stdout, and returns
 * after SIGINT or SIGTERM when the requests that run are answered. Call it before there are other
 * threads. 0, or -1 with a message on stderr.
 */
int web_serve(int port, web_handler *handler, void *context);

#endif
