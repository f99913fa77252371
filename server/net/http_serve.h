/*
 * http_serve.h - one request of the HTTP port: what it asks for, whether it may, and its answer.
 *
 *     first call     method, Host, body -> refused, or
 *     second call    /healthz, /readyz: answered | other paths: suspended, in http.waiting
 *     third call     resumed with the answer that http_make.h has made
 *
 * No answer says anything that a client has chosen but keys and stages.
 */
#ifndef IDEM_SERVER_NET_HTTP_SERVE_H
#define IDEM_SERVER_NET_HTTP_SERVE_H

#include <microhttpd.h>

#include "server/net/http_state.h"

/* The library's callbacks; context: struct http. */
enum MHD_Result http_serve_request(void *context, struct MHD_Connection *connection,
                                   const char *url, const char *method, const char *version,
                                   const char *upload, size_t *upload_len, void **request);
void http_serve_done(void *context, struct MHD_Connection *connection, void **request,
                     enum MHD_RequestTerminationCode code);
void http_serve_connection(void *context, struct MHD_Connection *connection, void **conn,
                           enum MHD_ConnectionNotificationCode code);

/* Adds the headers that every answer has. False: no memory. */
bool http_serve_add_headers(struct MHD_Response *response, enum http_path path);
/* "serving", "draining" or "recovering". */
const char *http_serve_state(const struct http *http);

#endif
