/* http_cache.c - see http_cache.h. */
#include "server/net/http_cache.h"

#include <microhttpd.h>
#include <stdlib.h>

/* What the library calls back with when nobody needs the bytes any more. */
struct body {
  size_t *held_bytes;
  size_t len;
  char *bytes;
};

static void free_body(void *context) {
  struct body *body = context;
  *body->held_bytes -= body->len;
  free(body->bytes);
  free(body);
}

static bool is_same(const struct http_view *a, const struct http_view *b) {
  return a->path == b->path && a->only == b->only && a->limit == b->limit && a->whole == b->whole;
}

static bool is_young(const struct http_cached *answer, int64_t now_ms) {
  return now_ms - answer->made_ms < HTTP_CACHE_MS;
}

const struct http_cached *http_cache_find(const struct http_cache *cache,
                                          const struct http_view *view, int64_t now_ms) {
  for (unsigned i = 0; i < cache->count; i++) {
    const struct http_cached *answer = &cache->answers[i];
    if (is_same(&answer->view, view) && is_young(answer, now_ms)) return answer;
  }
  return NULL;
}

bool http_cache_may_make(struct http_cache *cache, int64_t now_ms) {
  if (now_ms - cache->second_ms >= 1000) {
    cache->second_ms = now_ms;
    cache->made = 0;
  }
  if (cache->made >= HTTP_CACHE_PER_SECOND || cache->held_bytes >= HTTP_CACHE_HELD_BYTES)
    return false;
  cache->made++;
  return true;
}

static void remove_at(struct http_cache *cache, unsigned index) {
  MHD_destroy_response(cache->answers[index].response);
  cache->answers[index] = cache->answers[--cache->count];
}

static unsigned oldest(const struct http_cache *cache) {
  unsigned oldest = 0;
  for (unsigned i = 1; i < cache->count; i++)
    if (cache->answers[i].made_ms < cache->answers[oldest].made_ms) oldest = i;
  return oldest;
}

static struct MHD_Response *response_of(struct http_cache *cache, char *bytes, size_t len) {
  struct body *body = malloc(sizeof *body);
  if (body == NULL) {
    free(bytes);
    return NULL;
  }
  *body = (struct body){.held_bytes = &cache->held_bytes, .len = len, .bytes = bytes};
  cache->held_bytes += len;
  struct MHD_Response *response =
      MHD_create_response_from_buffer_with_free_callback_cls(len, bytes, free_body, body);
  if (response == NULL) free_body(body);
  return response;
}

const struct http_cached *http_cache_put(struct http_cache *cache, const struct http_cached *made,
                                         char *bytes) {
  struct MHD_Response *response = response_of(cache, bytes, made->bytes);
  if (response == NULL) return NULL;
  if (cache->count == HTTP_CACHE_ANSWERS) remove_at(cache, oldest(cache));
  struct http_cached *answer = &cache->answers[cache->count++];
  *answer = *made;
  answer->response = response;
  return answer;
}

void http_cache_forget(struct http_cache *cache, int64_t now_ms) {
  for (unsigned i = cache->count; i > 0; i--)
    if (!is_young(&cache->answers[i - 1], now_ms)) remove_at(cache, i - 1);
}
