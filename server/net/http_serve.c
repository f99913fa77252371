/* http_serve.c - see http_serve.h. */
#include "server/net/http_serve.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "server/commands/exposition.h"
#include "server/net/http_conns.h"
#include "server/net/http_host.h"
#include "server/net/http_style.h"
#include "server/net/loop.h"

#define TEXT_TYPE "text/plain; charset=utf-8"
#define CLOSED_POLICY "default-src 'none'; frame-ancestors 'none'"

static int64_t now_ms(void) { return (int64_t)(clock_monotonic_ns() / 1000000); }

const char *http_serve_state(const struct http *http) {
  if (http->loop == NULL) return "recovering";
  bool draining = atomic_load(&http->loop->group.worker.instance->draining);
  return draining ? "draining" : "serving";
}

/* ---- headers ---- */

static const char *type_of(enum http_path path) {
  switch (path) {
    case HTTP_PAGE: return "text/html; charset=utf-8";
    case HTTP_CLAIMS: return "application/json";
    case HTTP_METRICS: return EXPOSITION_TYPE;
    case HTTP_HEALTHZ:
    case HTTP_READYZ:
    case HTTP_OTHER:
    case HTTP_PATHS:
    default: return TEXT_TYPE;
  }
}

bool http_serve_add_headers(struct MHD_Response *response, enum http_path path) {
  const struct {
    const char *name, *value;
  } headers[] = {
      {"Content-Type", type_of(path)},
      {"Content-Security-Policy", path == HTTP_PAGE ? http_style_policy : CLOSED_POLICY},
      {"X-Content-Type-Options", "nosniff"},
      {"Referrer-Policy", "no-referrer"},
      {"Cross-Origin-Resource-Policy", "same-origin"},
      {"X-Frame-Options", "DENY"},
      {"Cache-Control", "no-store"},
  };
  for (size_t i = 0; i < sizeof headers / sizeof headers[0]; i++)
    if (MHD_add_response_header(response, headers[i].name, headers[i].value) != MHD_YES)
      return false;
  return true;
}

/* ---- short answers ---- */

/* After a refusal the connection ends: what follows of the request is not read. */
static enum MHD_Result say(struct http *http, struct http_conn *conn, enum http_path path,
                           unsigned status, const char *text) {
  struct MHD_Response *response =
      MHD_create_response_from_buffer(strlen(text), (void *)(uintptr_t)text, MHD_RESPMEM_MUST_COPY);
  if (response == NULL) return MHD_NO;
  bool whole = http_serve_add_headers(response, HTTP_OTHER);
  if (status == 405 && MHD_add_response_header(response, "Allow", "GET, HEAD") != MHD_YES)
    whole = false;
  if (status != 200 && status != 503 &&
      MHD_add_response_header(response, "Connection", "close") != MHD_YES)
    whole = false;
  enum MHD_Result result = whole ? MHD_queue_response(conn->connection, status, response) : MHD_NO;
  MHD_destroy_response(response);
  if (result == MHD_YES) http_count_answer(&http->count, path, status);
  http_conns_move(http, conn, HTTP_SENDS, now_ms());
  return result;
}

/* ---- whether it may ---- */

/* Of its header. */
struct fields {
  unsigned hosts;
  const char *host; /* the last; NULL: it is empty */
  bool body;        /* one follows, or its length is unclear */
};

/* MHD_KeyValueIterator. */
static enum MHD_Result note_field(void *context, enum MHD_ValueKind kind, const char *name,
                                  const char *value) {
  (void)kind;
  struct fields *fields = context;
  if (strcasecmp(name, "Host") == 0) {
    fields->hosts++;
    fields->host = value;
  }
  if (strcasecmp(name, "Transfer-Encoding") == 0) fields->body = true;
  if (strcasecmp(name, "Content-Length") == 0 && (value == NULL || strcmp(value, "0") != 0))
    fields->body = true;
  return MHD_YES;
}

/* A browser always sends one; HTTP/1.0 need not. */
static bool host_is_allowed(const struct http *http, const struct fields *fields,
                            const char *version) {
  if (fields->hosts == 0) return strcmp(version, MHD_HTTP_VERSION_1_0) == 0;
  return fields->hosts == 1 && fields->host != NULL &&
         http_host_allowed(span_of(fields->host), http->options->http_hosts);
}

static enum MHD_Result begin(struct http *http, struct http_conn *conn, const char *url,
                             const char *method, const char *version) {
  enum http_path path = http_count_path(url);
  struct fields fields = {0};
  MHD_get_connection_values(conn->connection, MHD_HEADER_KIND, note_field, &fields);
  if (strcmp(method, "GET") != 0 && strcmp(method, "HEAD") != 0)
    return say(http, conn, path, 405, "This port only shows: GET and HEAD.\n");
  if (fields.body) return say(http, conn, path, 413, "A request has no body here.\n");
  if (!host_is_allowed(http, &fields, version))
    return say(http, conn, path, 421,
               "This Host is not one of this server's: use its address, or list the name in "
               "http-hosts.\n");
  if (path == HTTP_OTHER)
    return say(http, conn, path, 404, "There is: / /claims.json /metrics /healthz /readyz\n");
  return MHD_YES;
}

/* ---- what it asks for ---- */

static const char *query(const struct http_conn *conn, const char *name) {
  return MHD_lookup_connection_value(conn->connection, MHD_GET_ARGUMENT_KIND, name);
}

static bool parse_state(const char *text, int *only) {
  *only = -1;
  if (text == NULL) return true;
  for (int state = 0; state < (int)OVERVIEW_STATES; state++) {
    struct span name = overview_state_name((enum overview_state)state);
    if (strlen(text) == name.len && strncasecmp(text, name.data, name.len) == 0) *only = state;
  }
  return *only >= 0;
}

static bool parse_limit(const char *text, unsigned *limit) {
  *limit = OVERVIEW_CLAIMS;
  if (text == NULL) return true;
  char *end;
  unsigned long value = text[0] >= '1' && text[0] <= '9' ? strtoul(text, &end, 10) : 0;
  if (value == 0 || *end != '\0' || value > OVERVIEW_CLAIMS) return false;
  *limit = (unsigned)value;
  return true;
}

static bool find_view(const struct http *http, const struct http_conn *conn, enum http_path path,
                      struct http_view *view) {
  *view = (struct http_view){.path = path, .only = -1};
  if (path != HTTP_METRICS) view->whole = conn->local || http->options->http_keys;
  if (path != HTTP_CLAIMS) return true;
  return parse_state(query(conn, "state"), &view->only) &&
         parse_limit(query(conn, "limit"), &view->limit);
}

static enum MHD_Result wait_for_answer(struct http *http, struct http_conn *conn,
                                       enum http_path path) {
  if (!find_view(http, conn, path, &conn->view))
    return say(http, conn, path, 400,
               "state is held, lapsed or unknown; limit is a number from 1 to 200.\n");
  list_append(&http->waiting, &conn->link);
  http_conns_move(http, conn, HTTP_WAITS, now_ms());
  http->stalled = false;
  MHD_suspend_connection(conn->connection);
  return MHD_YES;
}

static enum MHD_Result say_recovering(struct http *http, struct http_conn *conn,
                                      enum http_path path) {
  char text[64];
  snprintf(text, sizeof text, "recovering: %u %% of the journal is read\n",
           http->restored_per_cent);
  return say(http, conn, path, 503, text);
}

static enum MHD_Result say_ready(struct http *http, struct http_conn *conn) {
  if (http->loop == NULL) return say_recovering(http, conn, HTTP_READYZ);
  if (strcmp(http_serve_state(http), "serving") == 0)
    return say(http, conn, HTTP_READYZ, 200, "ready\n");
  return say(http, conn, HTTP_READYZ, 503, "draining: nothing new is granted\n");
}

static enum MHD_Result answer(struct http *http, struct http_conn *conn, const char *url) {
  enum http_path path = http_count_path(url);
  if (path == HTTP_HEALTHZ) return say(http, conn, path, 200, "ok\n");
  if (path == HTTP_READYZ) return say_ready(http, conn);
  if (path != HTTP_PAGE && http->loop == NULL) return say_recovering(http, conn, path);
  return wait_for_answer(http, conn, path);
}

/* ---- the library's callbacks ---- */

static enum MHD_Result send_made(struct http *http, struct http_conn *conn) {
  const struct http_cached *made = conn->answer;
  conn->answer = NULL;
  conn->resumed = false;
  if (made == NULL) return MHD_NO;
  http_count_answer(&http->count, made->view.path, made->status);
  return MHD_queue_response(conn->connection, made->status, made->response);
}

enum MHD_Result http_serve_request(void *context, struct MHD_Connection *connection,
                                   const char *url, const char *method, const char *version,
                                   const char *upload, size_t *upload_len, void **request) {
  struct http *http = context;
  struct http_conn *conn =
      MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT)->socket_context;
  (void)upload;
  *upload_len = 0;
  if (conn == NULL || http->closing) return MHD_NO;
  if (conn->resumed) return send_made(http, conn);
  if (*request != NULL) return answer(http, conn, url);
  *request = conn;
  return begin(http, conn, url, method, version);
}

void http_serve_done(void *context, struct MHD_Connection *connection, void **request,
                     enum MHD_RequestTerminationCode code) {
  struct http *http = context;
  struct http_conn *conn = *request;
  (void)code;
  *request = NULL;
  if (conn == NULL || conn->connection != connection) return;
  if (conn->phase == HTTP_SENDS) http_conns_move(http, conn, HTTP_READS, now_ms());
}

void http_serve_connection(void *context, struct MHD_Connection *connection, void **conn,
                           enum MHD_ConnectionNotificationCode code) {
  struct http *http = context;
  if (code == MHD_CONNECTION_NOTIFY_STARTED) {
    http_conns_opened(http, connection, conn);
  } else if (*conn != NULL) {
    http_conns_closed(http, *conn);
  }
}
