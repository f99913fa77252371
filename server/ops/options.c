/*
 * options.c - the table of settings, and what follows from it while the server runs: CONFIG GET,
 * CONFIG SET.
 *
 * Knows no socket and no engine. Keeps: a refused change leaves the options as they were; every
 * default is a value of its own row (options_init asserts it).
 */
#include "server/ops/options.h"

#include <assert.h>
#include <stdlib.h>
#include <strings.h>
#include <sys/un.h>

#include "server/ops/options_row.h"

#define AT(field) offsetof(struct options, field)

#define KB INT64_C(1024)
#define MB (1024 * KB)
#define GB (1024 * MB)
#define SECOND_MS INT64_C(1000)
#define HOUR_MS (3600 * SECOND_MS)
#define DAY_MS (24 * HOUR_MS)
#define DAY_S INT64_C(86400)

/* fs.nr_open, Linux' default bound of a process' descriptors. A waiter holds a connection, so it
 * bounds those too. */
#define MAX_CONNECTIONS (1024 * KB)
#define MAX_THREADS 64 /* KEYSPACE_MAX_LOOPS: as many as a word has bits */
/* Half of what a process can address on x86-64 (47 bits). */
#define MAX_MEMORY (64 * 1024 * GB)
/* Linux takes no larger TCP_KEEPIDLE (MAX_TCP_KEEPIDLE, include/net/tcp.h). */
#define MAX_KEEPALIVE_S 32767
#define MAX_TEXT (OPTIONS_TEXT_BYTES - 1)
#define MAX_SOCKET_PATH ((int64_t)sizeof(((struct sockaddr_un *)0)->sun_path) - 1)

#define NETWORK "Network"
#define ACCESS "Access"
#define CLIENTS "Clients"
#define CONTRACT "Claims and responses"
#define SIZES "Size limits"
#define MEMORY "Memory"
#define RUNNING "Running"

/* Names and defaults are redis.conf's where Redis has the setting; the caps of the rest are the
 * contract's. */
static const struct row rows[] = {
    {"port", ROW_INTEGER, AT(port), 0, 65535, "4336", 0, NETWORK,
     "TCP port; 0 lets the kernel pick one."},
    {"bind", ROW_BIND, AT(bind), 0, MAX_TEXT, "127.0.0.1 -::1", 0, NETWORK,
     "Addresses to listen on; one with a leading '-' may be missing, * is every IPv4, ::* every "
     "IPv6 address, \"\" is no TCP."},
    {"unixsocket", ROW_PATH, AT(unixsocket), 0, MAX_SOCKET_PATH, "", 0, NETWORK,
     "Unix socket to listen on; \"\" is none."},
    {"unixsocketperm", ROW_MODE, AT(unixsocketperm), 0, 0777, "700", 0, NETWORK,
     "Mode of the unix socket."},
    {"tcp-backlog", ROW_INTEGER, AT(tcp_backlog), 1, 65535, "511", 0, NETWORK,
     "Connections that may wait to be accepted (the kernel's somaxconn bounds it too)."},
    {"tcp-keepalive", ROW_SECONDS, AT(tcp_keepalive_s), 0, MAX_KEEPALIVE_S, "60", ROW_LIVE, NETWORK,
     "Probe a silent peer after so long; 0 is never."},

    {"requirepass", ROW_TEXT, AT(requirepass), 0, OPTIONS_MAX_PASSWORD, "",
     ROW_LIVE | ROW_SECRET | ROW_FILE_ONLY, ACCESS,
     "Password for AUTH; only in a configuration file that others cannot read (chmod 600). \"\" is "
     "none."},
    {"requirepass-file", ROW_PATH, AT(requirepass_file), 0, MAX_TEXT, "", 0, ACCESS,
     "File whose first line is the password; others must not be able to read it."},
    {"insecure", ROW_YES_NO, AT(insecure), 0, 1, "no", 0, ACCESS,
     "Allow an address that other machines can reach without a password."},

    {"threads", ROW_INTEGER, AT(threads), 1, MAX_THREADS, "1", 0, CLIENTS,
     "Event loops, each in a thread of its own; more than there are cores is of no use."},
    {"maxclients", ROW_INTEGER, AT(maxclients), 1, MAX_CONNECTIONS, "100000", ROW_LIVE, CLIENTS,
     "Connections at a time; one more is refused with an error. Cut to what the limit of open "
     "files leaves."},
    {"timeout", ROW_SECONDS, AT(timeout_s), 0, 365 * DAY_S, "0", ROW_LIVE, CLIENTS,
     "Close a connection that was idle for so long, never one that waits, listens or has a HELD "
     "claim with BIND; 0 is never."},
    {"client-output-limit", ROW_BYTES, AT(client_output_limit), KB, 1024 * GB, "64mb", ROW_LIVE,
     CLIENTS, "Replies that may wait for a reader; over it, no more of its commands are read."},
    {"client-output-total", ROW_BYTES, AT(client_output_total), 64 * KB, 1024 * GB, "1gb", ROW_LIVE,
     CLIENTS,
     "Replies that may wait for all readers together, a quarter of maxmemory at most; from half of "
     "it on, each reader may have an equal share of the rest, at most 64kb."},
    {"client-output-timeout", ROW_MS, AT(client_output_timeout_ms), 1, DAY_MS, "60s", ROW_LIVE,
     CLIENTS, "Close a reader that took nothing of its replies for so long."},
    {"client-input-total", ROW_BYTES, AT(client_input_total), 64 * KB, 1024 * GB, "1gb", ROW_LIVE,
     CLIENTS,
     "Half-received commands of all connections together, those that MULTI queues, and names "
     "listened to."},
    {"waiters-per-key", ROW_INTEGER, AT(waiters_per_key), 1, MAX_CONNECTIONS, "10000", ROW_LIVE,
     CLIENTS, "Connections that may wait on one key."},
    {"waiters-total", ROW_INTEGER, AT(waiters_total), 1, MAX_CONNECTIONS, "100000", ROW_LIVE,
     CLIENTS, "Connections that may wait on all keys together."},

    {"lease", ROW_MS, AT(limits.lease_ms), 1, HOUR_MS, "60s", ROW_LIVE, CONTRACT,
     "Lease of a CLAIM that names none."},
    {"lease-max", ROW_MS, AT(limits.lease_max_ms), 1, HOUR_MS, "1h", 0, CONTRACT,
     "Longest lease that a client may ask for."},
    {"ttl", ROW_MS, AT(limits.ttl_ms), 1, 31 * DAY_MS, "24h", ROW_LIVE, CONTRACT,
     "How long the response of a STORE that names no TTL is kept."},
    {"ttl-max", ROW_MS, AT(limits.ttl_max_ms), 1, 31 * DAY_MS, "31d", 0, CONTRACT,
     "Longest TTL that a client may ask for."},
    {"retention", ROW_MS, AT(retention_ms), 1, 31 * DAY_MS, "24h", ROW_LIVE, CONTRACT,
     "How long an abandoned claim (LAPSED, UNKNOWN) is remembered."},
    {"wait-max", ROW_MS, AT(limits.wait_max_ms), 1, 300 * SECOND_MS, "60s", ROW_LIVE, CONTRACT,
     "Longest wait; longer ones are cut to it, WAIT 0 means it."},

    {"key-limit", ROW_BYTES, AT(limits.key_bytes), 1, 64 * KB, "1kb", 0, SIZES, "Longest key."},
    {"fingerprint-limit", ROW_BYTES, AT(limits.fingerprint_bytes), 1, KB, "64", 0, SIZES,
     "Longest fingerprint (FP)."},
    {"owner-limit", ROW_BYTES, AT(limits.owner_bytes), 1, 4 * KB, "128", 0, SIZES,
     "Longest OWNER."},
    {"stage-limit", ROW_BYTES, AT(limits.stage_bytes), 1, 64 * KB, "1kb", 0, SIZES,
     "Longest STAGE."},
    {"meta-limit", ROW_BYTES, AT(limits.meta_bytes), 1, MB, "64kb", 0, SIZES, "Longest META."},
    {"body-limit", ROW_BYTES, AT(limits.body_bytes), 1, 512 * MB, "16mb", 0, SIZES,
     "Longest response body."},

    {"maxmemory", ROW_BYTES, AT(maxmemory), 0, MAX_MEMORY, "0", ROW_LIVE, MEMORY,
     "Refuse new claims at so much memory (nothing is evicted); 0 is no limit."},
    {"store-reserve", ROW_BYTES, AT(store_reserve), 0, 512 * MB, "4kb", ROW_LIVE, MEMORY,
     "Kept free for the response of each running claim when maxmemory is set."},

    {"drain-timeout", ROW_MS, AT(drain_timeout_ms), 0, HOUR_MS, "10s", ROW_LIVE, RUNNING,
     "After SIGTERM, leave at the latest after so long."},
    {"loglevel", ROW_LEVEL, AT(loglevel), LOGLEVEL_DEBUG, LOGLEVEL_WARNING, "notice", ROW_LIVE,
     RUNNING, "Least severe lines that are logged."},
    {"slowlog-log-slower-than", ROW_INTEGER, AT(slowlog_slower_us), -1, INT64_MAX / 1000, "10000",
     ROW_LIVE, RUNNING,
     "Microseconds from which on a command is kept in SLOWLOG; 0 keeps all, -1 none."},
    {"slowlog-max-len", ROW_INTEGER, AT(slowlog_max_len), 0, 100000, "128", ROW_LIVE, RUNNING,
     "Commands kept in SLOWLOG."},
    {"enable-debug-command", ROW_YES_NO, AT(enable_debug_command), 0, 1, "no", 0, RUNNING,
     "Allow DEBUG SLEEP, which stops the whole server for a while."},
    {"logfile", ROW_PATH, AT(logfile), 0, MAX_TEXT, "", 0, RUNNING,
     "File to append log lines to; \"\" is standard output."},
};
#define ROW_COUNT (sizeof(rows) / sizeof(rows[0]))
_Static_assert(ROW_COUNT <= OPTIONS_MAX_ROWS, "raise OPTIONS_MAX_ROWS");

size_t options_count(void) { return ROW_COUNT; }

const struct row *options_row(size_t index) {
  assert(index < ROW_COUNT);
  return &rows[index];
}

size_t options_index(const struct row *row) { return (size_t)(row - rows); }

const char *options_name(size_t index) { return options_row(index)->name; }

const struct row *options_find(struct span name) {
  for (size_t i = 0; i < ROW_COUNT; i++) {
    if (span_is(name, rows[i].name)) return &rows[i];
  }
  return NULL;
}

void options_init(struct options *options) {
  char error[OPTIONS_ERROR_BYTES];
  memset(options, 0, sizeof(*options));
  for (size_t i = 0; i < ROW_COUNT; i++) {
    struct row_value value;
    bool parsed = row_parse(&rows[i], span_of(rows[i].initial), &value, error);
    assert(parsed);
    (void)parsed;
    row_store(&rows[i], options, &value);
  }
  options->config_file = strdup("");
  assert(options->config_file != NULL);
}

void options_deinit(struct options *options) {
  for (size_t i = 0; i < ROW_COUNT; i++) {
    struct row_value none = {0, NULL};
    row_store(&rows[i], options, &none);
  }
  free(options->config_file);
  options->config_file = NULL;
}

void options_text(const struct options *options, size_t index, char text[OPTIONS_TEXT_BYTES]) {
  const struct row *row = options_row(index);
  if ((row->flags & ROW_SECRET) != 0) {
    text[0] = '\0';
    return;
  }
  row_text(row, options, text);
}

/* Only numbers are compared here, so their shown form is the plain one. */
static bool refuse_order(const char *low, int64_t low_value, const char *high, int64_t high_value,
                         char error[OPTIONS_ERROR_BYTES]) {
  return options_refuse(error,
                        "%s (%lld) is more than %s (%lld): lower the first or raise the second",
                        low, (long long)low_value, high, (long long)high_value);
}

static bool check_listeners(const struct options *options, char error[OPTIONS_ERROR_BYTES]) {
  const char *cursor = options->bind;
  struct span address;
  char shown[OPTIONS_SHOWN_BYTES];
  bool any = false;
  bool open = options->requirepass[0] == '\0' && !options->insecure;
  while (bind_next(&cursor, &address)) {
    any = true;
    if (!open || bind_is_loopback(address)) continue;
    return options_refuse(
        error,
        "bind %s can be reached by other machines and there is no password: set requirepass in a "
        "configuration file (chmod 600) or requirepass-file, or bind 127.0.0.1 only, or set "
        "insecure yes",
        options_show(address, shown));
  }
  if (any || options->unixsocket[0] != '\0') return true;
  return options_refuse(error, "nothing to listen on: bind is empty and there is no unixsocket");
}

/* A default that nobody asked for gives way to a lower maximum that somebody did ask for. */
static void follow(int64_t *value, const char *name, int64_t max) {
  struct row_value initial;
  char error[OPTIONS_ERROR_BYTES];
  const struct row *row = options_find(span_of(name));
  if (!row_parse(row, span_of(row->initial), &initial, error)) return;
  if (*value == initial.number && *value > max) *value = max;
}

void options_follow_maxima(struct options *options) {
  follow(&options->limits.lease_ms, "lease", options->limits.lease_max_ms);
  follow(&options->limits.ttl_ms, "ttl", options->limits.ttl_max_ms);
  follow(&options->waiters_per_key, "waiters-per-key", options->waiters_total);
}

bool options_check(const struct options *options, char error[OPTIONS_ERROR_BYTES]) {
  if (options->limits.lease_ms > options->limits.lease_max_ms) {
    return refuse_order("lease", options->limits.lease_ms, "lease-max",
                        options->limits.lease_max_ms, error);
  }
  if (options->limits.ttl_ms > options->limits.ttl_max_ms) {
    return refuse_order("ttl", options->limits.ttl_ms, "ttl-max", options->limits.ttl_max_ms,
                        error);
  }
  if (options->waiters_per_key > options->waiters_total) {
    return refuse_order("waiters-per-key", options->waiters_per_key, "waiters-total",
                        options->waiters_total, error);
  }
  return check_listeners(options, error);
}

static bool set_password(struct options *options, const struct row *row, struct row_value *value,
                         char error[OPTIONS_ERROR_BYTES]) {
  struct options changed = *options;
  changed.requirepass = value->text;
  if (!options_check(&changed, error)) return false;
  row_store(row, options, value);
  /* The file no longer tells the password; if it stayed named, CONFIG REWRITE would write two. */
  options->requirepass_file[0] = '\0';
  return true;
}

/* A live row is a number or the password; a flat copy with the new number in it is enough to check
 * the whole. */
static bool set_number(struct options *options, const struct row *row, struct row_value *value,
                       char error[OPTIONS_ERROR_BYTES]) {
  struct options changed = *options;
  row_store(row, &changed, value);
  if (!options_check(&changed, error)) return false;
  row_store(row, options, value);
  return true;
}

enum options_result options_set_live(struct options *options, struct span name, struct span value,
                                     char error[OPTIONS_ERROR_BYTES]) {
  char shown[OPTIONS_SHOWN_BYTES];
  const struct row *row = options_find(name);
  if (row == NULL) {
    const char *near = options_nearest(name);
    options_refuse(error, "unknown option '%s'%s%s%s", options_show(name, shown),
                   near != NULL ? ", did you mean " : "", near != NULL ? near : "",
                   near != NULL ? "?" : "");
    return OPTIONS_REFUSED;
  }
  if ((row->flags & ROW_LIVE) == 0) {
    options_refuse(
        error,
        "%s cannot change while the server runs: set it in the configuration file or by --%s",
        row->name, row->name);
    return OPTIONS_REFUSED;
  }
  struct row_value parsed;
  if (!row_parse(row, value, &parsed, error)) return OPTIONS_REFUSED;
  bool secret = (row->flags & ROW_SECRET) != 0;
  bool done = secret ? set_password(options, row, &parsed, error)
                     : set_number(options, row, &parsed, error);
  row_value_deinit(&parsed);
  return done ? OPTIONS_RUN : OPTIONS_REFUSED;
}
