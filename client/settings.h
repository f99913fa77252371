/*
 * settings.h - idem_options with the defaults filled in and the strings copied. Shared by
 * idem_client and idem_async.
 */
#ifndef IDEM_CLIENT_SETTINGS_H
#define IDEM_CLIENT_SETTINGS_H

#include "client/clock.h"
#include "client/idem.h"
#include "client/process.h"
#include "client/random.h"
#include "client/target.h"
#include "client/tls.h"

#define SETTINGS_NAME_BYTES 64
/* "name:" and the random part: below the server's owner-limit of 128. */
#define SETTINGS_OWNER_BYTES (SETTINGS_NAME_BYTES + 1 + RANDOM_HEX_BYTES)
/* No duration may exceed this. */
#define SETTINGS_MS_MAX CLOCK_SPAN_MAX_MS

struct settings {
  struct process_mark process; /* that opened it */
  struct target target;
  struct tls *tls;
  int64_t connect_timeout_ms, command_timeout_ms, deadline_ms, backoff_first_ms, backoff_max_ms;
  unsigned idle_connections, async_connections, async_waits;
  size_t reply_limit_bytes;
  idem_lost_fn *on_lost;
  void *lost_context;
  char name[SETTINGS_NAME_BYTES + 1]; /* with its ':'; not terminated */
  size_t name_len;
};

/* options may be NULL. IDEM_OK, INVALID, REFUSED or NO_MEMORY; on failure nothing is held. */
enum idem_status settings_init(struct settings *settings, const char *url,
                               const struct idem_options *options, struct idem_error *error);
void settings_deinit(struct settings *settings);

/* The name of one logical call: SETTINGS_OWNER_BYTES at `out`. Absent when the kernel has no random
 * numbers. */
struct idem_bytes settings_owner(const struct settings *settings, char *out);
/* Copies a request of the caller's. NULL, or what is wrong with it. */
const char *settings_take_request(struct idem_request *to, const struct idem_request *from);

#endif
