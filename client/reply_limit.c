/* reply_limit.c - see reply_limit.h. */
#include "client/reply_limit.h"

#include <stdio.h>
#include <string.h>

#if HIREDIS_MAJOR >= 1
typedef size_t element_count;
#else
typedef int element_count;
#endif

/* Room for the headers and line ends that lie in the reader's buffer beside a string, and for what
 * one read brings of the next reply. */
#define SLACK_BYTES (64 * 1024)

/* Whether one more object of so many bytes may be built. */
static struct reply_limit *admit(const redisReadTask *task, size_t bytes) {
  struct reply_limit *limit = task->privdata;
  if (task->parent == NULL) limit->bytes = limit->objects = 0;
  limit->objects++;
  limit->bytes += bytes;
  limit->exceeded = limit->objects > REPLY_LIMIT_OBJECTS_MAX || limit->bytes > limit->bytes_max;
  return limit->exceeded ? NULL : limit;
}

static void *create_string(const redisReadTask *task, char *text, size_t len) {
  const struct reply_limit *limit = admit(task, len);
  return limit != NULL ? limit->builder->createString(task, text, len) : NULL;
}

static void *create_array(const redisReadTask *task, element_count elements) {
  struct reply_limit *limit = admit(task, 0);
  if (limit != NULL && elements > REPLY_LIMIT_ELEMENTS_MAX) limit->exceeded = true;
  return limit != NULL && !limit->exceeded ? limit->builder->createArray(task, elements) : NULL;
}

static void *create_integer(const redisReadTask *task, long long value) {
  const struct reply_limit *limit = admit(task, 0);
  return limit != NULL ? limit->builder->createInteger(task, value) : NULL;
}

static void *create_nil(const redisReadTask *task) {
  const struct reply_limit *limit = admit(task, 0);
  return limit != NULL ? limit->builder->createNil(task) : NULL;
}

void reply_limit_init(struct reply_limit *limit, redisReader *reader, size_t bytes_max) {
  *limit = (struct reply_limit){.builder = reader->fn, .bytes_max = bytes_max};
  limit->functions = *reader->fn;
  limit->functions.createString = create_string;
  limit->functions.createArray = create_array;
  limit->functions.createInteger = create_integer;
  limit->functions.createNil = create_nil;
  reader->fn = &limit->functions;
  reader->privdata = limit;
}

bool reply_limit_exceeded(const struct reply_limit *limit, const redisReader *reader) {
  size_t growing = reader->len - reader->pos;
  return limit->exceeded || growing > limit->bytes_max + SLACK_BYTES;
}

/* A server that speaks TLS answers a plain command with an alert, which begins so. */
#define TLS_ALERT_SEEN "\"\\x15\""

enum idem_status reply_limit_explain_end(const struct reply_limit *limit, const redisReader *reader,
                                         char *why) {
  if (reply_limit_exceeded(limit, reader)) {
    snprintf(why, IDEM_MESSAGE_BYTES, "a reply over %zu bytes or %d fields", limit->bytes_max,
             REPLY_LIMIT_ELEMENTS_MAX);
    return IDEM_REFUSED;
  }
  if (reader->err == REDIS_ERR_OOM) return IDEM_NO_MEMORY;
  if (reader->err == 0) return IDEM_UNAVAILABLE;
  if (strstr(reader->errstr, TLS_ALERT_SEEN) != NULL) {
    snprintf(why, IDEM_MESSAGE_BYTES, "the server speaks TLS here: write idems:// or rediss://");
  } else {
    snprintf(why, IDEM_MESSAGE_BYTES, "this is no idem server: %.120s", reader->errstr);
  }
  return IDEM_REFUSED;
}
