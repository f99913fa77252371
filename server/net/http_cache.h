/*
 * http_cache.h - answers that were made a moment ago: the same request within HTTP_CACHE_MS gets
 * the same bytes, which the library sends from where they lie and frees after the last reader.
 *
 * It bounds what a flood costs: so many answers are made in a second, and so many bytes wait for
 * readers. Who asks for more waits.
 */
#ifndef IDEM_SERVER_NET_HTTP_CACHE_H
#define IDEM_SERVER_NET_HTTP_CACHE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "server/net/http_count.h"

struct MHD_Response;

#define HTTP_CACHE_MS 1000
#define HTTP_CACHE_ANSWERS 8u
/* Made in a second; bytes of all that readers have not taken yet, over which none is made. */
#define HTTP_CACHE_PER_SECOND 20u
#define HTTP_CACHE_HELD_BYTES (8u * 1024 * 1024)

/* What is asked for. */
struct http_view {
  enum http_path path;
  int only; /* enum overview_state; -1: all */
  unsigned limit;
  bool whole; /* keys */
};

struct http_cached {
  struct http_view view;
  struct MHD_Response *response;
  size_t bytes;
  unsigned status;
  int64_t made_ms;
};

struct http_cache {
  struct http_cached answers[HTTP_CACHE_ANSWERS];
  unsigned count;
  size_t held_bytes;
  int64_t second_ms; /* when the present second began */
  unsigned made;     /* in it */
};

/* NULL: there is none that is young enough. Good until the next put or forget. */
const struct http_cached *http_cache_find(const struct http_cache *cache,
                                          const struct http_view *view, int64_t now_ms);
/* Whether another answer may be made now; counts it. */
bool http_cache_may_make(struct http_cache *cache, int64_t now_ms);
/* Takes the bytes over (malloc), in every case. NULL: no memory. The response still needs its
 * headers. */
const struct http_cached *http_cache_put(struct http_cache *cache, const struct http_cached *made,
                                         char *bytes);
/* Those that are too old: now_ms INT64_MAX means all. Readers keep theirs. */
void http_cache_forget(struct http_cache *cache, int64_t now_ms);

#endif
