/* settings.c - see settings.h. */
#include "client/settings.h"

#include <stdio.h>
#include <string.h>

#include "client/sized.h"

/* The largest reply of a server with the largest body-limit that there is, 512 MiB. */
#define REPLY_LIMIT_BYTES ((size_t)513 << 20)
#define REPLY_LIMIT_MIN_BYTES ((size_t)64 << 10)

static const struct {
  const char *name;
  size_t from, to; /* offsets */
  int64_t default_ms;
} DURATIONS[] = {
#define DURATION(field, ms) \
  { #field, offsetof(struct idem_options, field), offsetof(struct settings, field), ms }
    DURATION(connect_timeout_ms, 1000), DURATION(command_timeout_ms, 2000),
    DURATION(deadline_ms, 5000),        DURATION(backoff_first_ms, 20),
    DURATION(backoff_max_ms, 1000),
#undef DURATION
};

static bool take_durations(struct settings *settings, const struct idem_options *options,
                           struct idem_error *error) {
  for (size_t i = 0; i < sizeof DURATIONS / sizeof DURATIONS[0]; i++) {
    int64_t value = 0;
    memcpy(&value, (const char *)options + DURATIONS[i].from, sizeof value);
    if (value < 0 || value > SETTINGS_MS_MAX) {
      snprintf(error->text, sizeof error->text, "%s is out of range", DURATIONS[i].name);
      return false;
    }
    if (value == 0) value = DURATIONS[i].default_ms;
    memcpy((char *)settings + DURATIONS[i].to, &value, sizeof value);
  }
  return true;
}

static unsigned or_default(unsigned value, unsigned fallback) {
  return value != 0 ? value : fallback;
}

static enum idem_status take_options(struct settings *settings, const struct idem_options *options,
                                     struct idem_error *error) {
  if (!take_durations(settings, options, error)) return IDEM_INVALID;
  settings->idle_connections = or_default(options->idle_connections, 16);
  settings->async_connections = or_default(options->async_connections, 2);
  settings->async_waits = or_default(options->async_waits, 256);
  settings->reply_limit_bytes = REPLY_LIMIT_BYTES;
  if (options->reply_limit_bytes != 0) settings->reply_limit_bytes = options->reply_limit_bytes;
  if (settings->reply_limit_bytes < REPLY_LIMIT_MIN_BYTES) {
    snprintf(error->text, sizeof error->text, "reply_limit_bytes is below %zu",
             REPLY_LIMIT_MIN_BYTES);
    return IDEM_INVALID;
  }
  settings->on_lost = options->on_lost;
  settings->lost_context = options->lost_context;
  if (options->name == NULL || options->name[0] == '\0') return IDEM_OK;
  size_t len = strlen(options->name);
  if (len > SETTINGS_NAME_BYTES) {
    snprintf(error->text, sizeof error->text, "name is longer than %d bytes", SETTINGS_NAME_BYTES);
    return IDEM_INVALID;
  }
  memcpy(settings->name, options->name, len);
  settings->name[len] = ':';
  settings->name_len = len + 1;
  return IDEM_OK;
}

SIZED_ASSERT_FULL(struct idem_options, SIZED_OPTIONS_0_1);

enum idem_status settings_init(struct settings *settings, const char *url,
                               const struct idem_options *options, struct idem_error *error) {
  struct idem_options own = {0};
  memset(settings, 0, sizeof *settings);
  if (options != NULL && !sized_copy(&own, sizeof own, options, SIZED_OPTIONS_0_1)) {
    snprintf(error->text, sizeof error->text, "options of a version that this library is not");
    return IDEM_INVALID;
  }
  if (url == NULL) {
    snprintf(error->text, sizeof error->text, "no URL");
    return IDEM_INVALID;
  }
  process_mark_init(&settings->process);
  enum idem_status status = take_options(settings, &own, error);
  if (status == IDEM_OK) status = target_parse(&settings->target, url, error);
  if (status == IDEM_OK && settings->target.tls) status = tls_create(&settings->tls, &own, error);
  if (status != IDEM_OK) settings_deinit(settings);
  return status;
}

void settings_deinit(struct settings *settings) {
  process_mark_deinit(&settings->process);
  target_deinit(&settings->target);
  tls_destroy(settings->tls);
  settings->tls = NULL;
}

struct idem_bytes settings_owner(const struct settings *settings, char *out) {
  memcpy(out, settings->name, settings->name_len);
  if (!random_hex(out + settings->name_len)) return idem_data(NULL, 0);
  return idem_data(out, settings->name_len + RANDOM_HEX_BYTES);
}

SIZED_ASSERT_FULL(struct idem_request, SIZED_REQUEST_0_1);

const char *settings_take_request(struct idem_request *to, const struct idem_request *from) {
  const unsigned known = IDEM_HOLD | IDEM_BIND | IDEM_NO_RENEWAL | IDEM_FAIL_OPEN;
  if (from == NULL) return "no request";
  if (!sized_copy(to, sizeof *to, from, SIZED_REQUEST_0_1))
    return "a request of a version that this library is not";
  if (to->reserved != 0) return "a request whose reserved member is not 0";
  if (to->key.data == NULL) return "a request without a key";
  if (to->lease_ms < 0 || to->lease_ms > SETTINGS_MS_MAX) return "lease_ms is out of range";
  if (to->wait_ms < IDEM_NO_WAIT || to->wait_ms > SETTINGS_MS_MAX) return "wait_ms is out of range";
  if (to->born_unix_ms < 0) return "born_unix_ms is negative";
  if (to->takeover > INT64_MAX) return "takeover is no token";
  if (to->flags & ~known) return "an unknown flag";
  return NULL;
}
