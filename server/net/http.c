/* http.c - see http.h. */
#include "server/net/http.h"

#include <microhttpd.h>
#include <stdio.h>
#include <stdlib.h>

#include "server/net/http_conns.h"
#include "server/net/http_make.h"
#include "server/net/http_serve.h"
#include "server/net/loop.h"

static int64_t now_ms(void) { return (int64_t)(clock_monotonic_ns() / 1000000); }

/* ---- before there is a loop ---- */

void http_work(struct http *http, unsigned per_cent) {
  if (http == NULL) return;
  http->restored_per_cent = per_cent;
  int64_t time_ms = now_ms();
  for (unsigned i = 0; i < http->sockets.count; i++)
    http_conns_accept(http, http->sockets.fds[i], time_ms);
  http_conns_run(http);
  if (!list_empty(&http->waiting)) http_make_turn(http);
  http_conns_check(http, time_ms);
  http_cache_forget(&http->cache, time_ms);
}

/* ---- in the loop ---- */

static void on_socket(uv_poll_t *poll, int status, int events) {
  struct http *http = poll->data;
  (void)events;
  gate_enter(&http->loop->gate);
  int fd = http->sockets.fds[poll - http->polls];
  bool can_more = status == 0 && http_conns_accept(http, fd, now_ms());
  if (!can_more) uv_poll_stop(poll); /* until http_cron */
}

static void on_ready(uv_poll_t *poll, int status, int events) {
  struct http *http = poll->data;
  (void)status, (void)events;
  gate_enter(&http->loop->gate);
  http_conns_run(http);
}

static int watch(struct http *http, uv_poll_t *poll, int fd, uv_poll_cb callback) {
  uv_loop_t *uv = &http->loop->uv;
  if (!descriptors_have(&http->loop->descriptors, uv, fd) || !descriptors_watch(uv, fd))
    return UV_ENOMEM;
  int error = uv_poll_init(uv, poll, fd);
  if (error != 0) return error;
  poll->data = http;
  http->poll_count++;
  return uv_poll_start(poll, UV_READABLE, callback);
}

int http_attach(struct http *http, struct loop *loop) {
  if (http == NULL) return 0;
  http->loop = loop;
  int fd = MHD_get_daemon_info(http->daemon, MHD_DAEMON_INFO_EPOLL_FD)->epoll_fd;
  int error = watch(http, &http->ready, fd, on_ready);
  for (unsigned i = 0; error == 0 && i < http->sockets.count; i++)
    error = watch(http, &http->polls[i], http->sockets.fds[i], on_socket);
  return error;
}

/* The handles stay in the loop until its next turn: the struct is freed when they are closed. */
static void on_closed(uv_handle_t *handle) {
  struct http *http = handle->data;
  if (--http->poll_count == 0) free(http);
}

void http_turn(struct http *http) {
  if (http == NULL) return;
  if (http->more) http_conns_run(http);
  if (list_empty(&http->waiting) || http->stalled) return;
  conn_group_see_time(&http->loop->group);
  http_make_turn(http);
}

bool http_left_work(const struct http *http) {
  if (http == NULL) return false;
  return http->more || (!list_empty(&http->waiting) && !http->stalled);
}

static void resume_sockets(struct http *http) {
  for (unsigned i = 0; i + 1 < http->poll_count; i++) {
    if (!uv_is_active((const uv_handle_t *)&http->polls[i]))
      uv_poll_start(&http->polls[i], UV_READABLE, on_socket);
  }
}

void http_cron(struct http *http) {
  if (http == NULL) return;
  int64_t time_ms = now_ms();
  http->stalled = false;
  http_conns_check(http, time_ms);
  http_cache_forget(&http->cache, time_ms);
  rates_look(&http->rates, &http->loop->group.worker);
  resume_sockets(http);
}

/* ---- life ---- */

static struct MHD_Daemon *start_daemon(struct http *http) {
  return MHD_start_daemon(MHD_USE_EPOLL | MHD_USE_NO_LISTEN_SOCKET | MHD_ALLOW_SUSPEND_RESUME, 0,
                          NULL, NULL, http_serve_request, http,                           /* */
                          MHD_OPTION_NOTIFY_COMPLETED, http_serve_done, http,             /* */
                          MHD_OPTION_NOTIFY_CONNECTION, http_serve_connection, http,      /* */
                          MHD_OPTION_CONNECTION_LIMIT, HTTP_CONNECTIONS,                  /* */
                          MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)HTTP_REQUEST_BYTES, /* */
                          MHD_OPTION_STRICT_FOR_CLIENT, 1, MHD_OPTION_END);
}

static bool is_reachable(const char *addresses) {
  struct span address;
  while (options_bind_next(&addresses, &address))
    if (!options_bind_is_loopback(address)) return true;
  return false;
}

static void announce(const struct http *http) {
  const struct options *options = http->options;
  log_line(http->log, LOG_LEVEL_NOTICE, "http-port %lld is open on %s",
           (long long)options->http_port, options->http_bind);
  if (is_reachable(options->http_bind))
    log_line(http->log, LOG_LEVEL_WARNING,
             "other machines can reach http-bind %s: they read figures and %s, unencrypted and "
             "without a password",
             options->http_bind, options->http_keys ? "whole keys" : "the ends of keys");
}

static void unmake(struct http *http) {
  if (http->daemon != NULL) MHD_stop_daemon(http->daemon);
  http_cache_forget(&http->cache, INT64_MAX);
  http_sockets_close(&http->sockets);
  overview_destroy(http->overview);
}

bool http_open(struct http **made, const struct options *options, struct log *log,
               char error[REFUSAL_BYTES]) {
  *made = NULL;
  if (options->http_port == 0) return true;
  struct http *http = calloc(1, sizeof *http);
  if (http == NULL) {
    snprintf(error, REFUSAL_BYTES, "cannot open http-port: out of memory");
    return false;
  }
  http->options = options;
  http->log = log;
  list_init(&http->waiting);
  snprintf(error, REFUSAL_BYTES, "cannot open http-port: out of memory or descriptors");
  http->overview = overview_create();
  if (http->overview != NULL) http->daemon = start_daemon(http);
  if (http->daemon == NULL || !http_sockets_open(&http->sockets, options, error)) {
    unmake(http);
    free(http);
    return false;
  }
  announce(http);
  *made = http;
  return true;
}

/* The library must have none that is suspended when it stops. */
static void let_go(struct http *http) {
  http->closing = true;
  while (!list_empty(&http->waiting))
    http_conns_resume(http, LIST_ENTRY(http->waiting.next, struct http_conn, link), NULL, now_ms());
  http_conns_run(http);
}

void http_close(struct http *http) {
  if (http == NULL) return;
  let_go(http);
  unsigned polls = http->poll_count;
  if (polls > 0) uv_close((uv_handle_t *)&http->ready, on_closed);
  for (unsigned i = 0; i + 1 < polls; i++) uv_close((uv_handle_t *)&http->polls[i], on_closed);
  unmake(http);
  if (polls == 0) free(http);
}
