/*
 * options.c - the table of settings; defaults. options_check.h has the checks across settings.
 *
 * Knows no socket and no engine. Keeps: every default is a value of its own row (options_init
 * asserts it), and the defaults pass options_check.
 */
#include "server/ops/options.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>

#include "server/ops/log.h"
#include "server/ops/options_contract.h"
#include "server/ops/options_users.h"

#define AT(field) offsetof(struct options, field)

#define KB INT64_C(1024)
#define MB (1024 * KB)
#define GB (1024 * MB)
#define SECOND_MS INT64_C(1000)
#define HOUR_MS (3600 * SECOND_MS)
#define DAY_MS (24 * HOUR_MS)
#define DAY_S INT64_C(86400)

/* fs.nr_open, Linux' default limit of a process' descriptors. Each waiter has a connection, so it
 * limits waiters too. */
#define MAX_CONNECTIONS (1024 * KB)
#define MAX_THREADS 64 /* KEYSPACE_MAX_LOOPS: a bit of a word for each */
/* Half of what a process can address on x86-64 (47 bits). */
#define MAX_MEMORY (64 * 1024 * GB)
/* Linux takes no larger TCP_KEEPIDLE (MAX_TCP_KEEPIDLE, include/net/tcp.h). */
#define MAX_KEEPALIVE_S 32767
#define MAX_TEXT (OPTIONS_VALUE_BYTES - 1)
#define MAX_TLS_TEXT 512
#define MAX_DIR 255
#define MAX_SOCKET_PATH ((int64_t)sizeof(((struct sockaddr_un *)0)->sun_path) - 1)

#define NETWORK "Network"
#define ACCESS "Access"
#define HTTP "Metrics and status page"
#define CLIENTS "Clients"
#define TLS "TLS"
#define MEMORY "Memory"
#define JOURNAL "Journal"
#define RUNNING "Running"

#define SHARED(name, kind, field, min, max, initial, flags, section, help) \
  {name, OPTIONS_ROW_##kind, AT(field), min, max, initial, flags, section, help},

#define TLS_LIVE (OPTIONS_ROW_LIVE | OPTIONS_ROW_TLS)

/* Names and defaults are redis.conf's where Redis has the setting; the maxima of the others are
 * those of proto/PROTOCOL.md. */
static const struct options_row rows[] = {
    {"port", OPTIONS_ROW_INTEGER, AT(port), 0, 65535, "4336", 0, NETWORK,
     "TCP port; 0 lets the kernel pick one, or means none when there is a tls-port."},
    {"bind", OPTIONS_ROW_BIND, AT(bind), 0, MAX_TEXT, "127.0.0.1 -::1", 0, NETWORK,
     "Addresses to listen on. One with a leading '-' may be missing; * means every IPv4 address, "
     "::* every IPv6 address, \"\" no TCP."},
    {"unixsocket", OPTIONS_ROW_PATH, AT(unixsocket), 0, MAX_SOCKET_PATH, "", 0, NETWORK,
     "Path of a unix socket to listen on; \"\" means none."},
    {"unixsocketperm", OPTIONS_ROW_MODE, AT(unixsocketperm), 0, 0777, "700", 0, NETWORK,
     "Mode of the unix socket."},
    {"tcp-backlog", OPTIONS_ROW_INTEGER, AT(tcp_backlog), 1, 65535, "511", 0, NETWORK,
     "Connections that may wait to be accepted; the kernel's somaxconn limits them too."},
    {"proxy-protocol", OPTIONS_ROW_NETWORKS, AT(proxy_protocol), 0, MAX_TEXT, "", 0, NETWORK,
     "Load balancers that send a PROXY header of version 2 before the client's first byte, and "
     "have to; "
     "from all other addresses it is refused."},
    {"tcp-keepalive", OPTIONS_ROW_SECONDS, AT(tcp_keepalive_s), 0, MAX_KEEPALIVE_S, "60",
     OPTIONS_ROW_LIVE, NETWORK, "Probe a silent connection after this time; 0 means never."},

    {"requirepass", OPTIONS_ROW_PASSWORD, AT(requirepass), 0, OPTIONS_PASSWORD_MAX, "",
     OPTIONS_ROW_LIVE | OPTIONS_ROW_SECRET | OPTIONS_ROW_FILE_ONLY, ACCESS,
     "Password of the default user, only in a configuration file that no other user can read "
     "(chmod 600); \"\" means none."},
    {"requirepass-file", OPTIONS_ROW_PATH, AT(requirepass_file), 0, MAX_TEXT, "", OPTIONS_ROW_LIVE,
     ACCESS,
     "File whose first line is the password of the default user; a second line is another one, for "
     "the time of a change. Read again on SIGHUP; no other user may be able to read it."},
    {"requirepass-file-mode", OPTIONS_ROW_READERS, AT(requirepass_file_mode),
     OPTIONS_FILE_MODE_PRIVATE, OPTIONS_FILE_MODE_ANY, "private", 0, ACCESS,
     "any: other users may read requirepass-file, but not write it. Below $CREDENTIALS_DIRECTORY "
     "and "
     "/run/secrets they may in any case."},
    {"aclfile", OPTIONS_ROW_PATH, AT(aclfile), 0, MAX_TEXT, "", 0, ACCESS,
     "File with the users, instead of `user` lines in the configuration file. ACL LOAD reads it "
     "again, ACL SAVE writes it; no other user may be able to read it."},
    {"acl-pubsub-default", OPTIONS_ROW_CHANNELS, AT(acl_pubsub_default),
     OPTIONS_ACL_PUBSUB_RESETCHANNELS, OPTIONS_ACL_PUBSUB_ALLCHANNELS, "resetchannels", 0, ACCESS,
     "Channels of a user of whom nothing else is said, and after `reset`: resetchannels means "
     "none, "
     "allchannels all."},
    {"acllog-max-len", OPTIONS_ROW_INTEGER, AT(acllog_max_len), 0, 10000, "128", OPTIONS_ROW_LIVE,
     ACCESS, "Refusals kept in ACL LOG."},
    {"insecure", OPTIONS_ROW_WAIVED, AT(insecure), 0, OPTIONS_INSECURE_YES, "no", 0, ACCESS,
     "What addresses that other machines can reach may lack: plain waives TLS, yes waives TLS and "
     "the password."},

    {"tls-port", OPTIONS_ROW_INTEGER, AT(tls_port), 0, 65535, "0", 0, TLS,
     "TCP port for TLS; 0 means none."},
    {"tls-cert-file", OPTIONS_ROW_PATH, AT(tls_cert_file), 0, MAX_TEXT, "", TLS_LIVE, TLS,
     "Certificate of the server in PEM, with those that lead to its CA."},
    {"tls-key-file", OPTIONS_ROW_PATH, AT(tls_key_file), 0, MAX_TEXT, "", TLS_LIVE, TLS,
     "Its private key in PEM."},
    {"tls-key-file-pass", OPTIONS_ROW_TEXT, AT(tls_key_file_pass), 0, OPTIONS_PASSWORD_MAX, "",
     OPTIONS_ROW_SECRET | OPTIONS_ROW_FILE_ONLY, TLS,
     "Password of the private key, only in a configuration file that no other user can read."},
    {"tls-ca-cert-file", OPTIONS_ROW_PATH, AT(tls_ca_cert_file), 0, MAX_TEXT, "", TLS_LIVE, TLS,
     "CA certificates in PEM, by which those of clients are checked."},
    {"tls-ca-cert-dir", OPTIONS_ROW_PATH, AT(tls_ca_cert_dir), 0, MAX_TEXT, "", TLS_LIVE, TLS,
     "Directory of CA certificates, named by their hashes (openssl rehash)."},
    {"tls-auth-clients", OPTIONS_ROW_CERTIFY, AT(tls_auth_clients), 0,
     OPTIONS_TLS_AUTH_CLIENTS_OPTIONAL, "yes", TLS_LIVE, TLS,
     "Whether clients need a certificate. optional: one that is sent has to be valid."},
    {"tls-protocols", OPTIONS_ROW_TEXT, AT(tls_protocols), 0, MAX_TLS_TEXT, "TLSv1.2 TLSv1.3",
     TLS_LIVE, TLS, "Versions of TLS, with blanks between them: TLSv1.2, TLSv1.3."},
    {"tls-ciphers", OPTIONS_ROW_TEXT, AT(tls_ciphers), 0, MAX_TLS_TEXT, "", TLS_LIVE, TLS,
     "Ciphers of TLS 1.2, as OpenSSL lists them; \"\" means ECDHE with AES-GCM or ChaCha20."},
    {"tls-ciphersuites", OPTIONS_ROW_TEXT, AT(tls_ciphersuites), 0, MAX_TLS_TEXT, "", TLS_LIVE, TLS,
     "Ciphersuites of TLS 1.3, as OpenSSL lists them; \"\" means its defaults."},
    {"tls-prefer-server-ciphers", OPTIONS_ROW_YES_NO, AT(tls_prefer_server_ciphers), 0, 1, "no",
     TLS_LIVE, TLS, "Choose ciphers in the order of the server, not of the client."},
    {"tls-session-caching", OPTIONS_ROW_YES_NO, AT(tls_session_caching), 0, 1, "yes", TLS_LIVE, TLS,
     "Give clients tickets with which they connect again more cheaply; nothing is kept here."},
    {"tls-session-cache-timeout", OPTIONS_ROW_SECONDS, AT(tls_session_cache_timeout_s), 1, DAY_S,
     "300", TLS_LIVE, TLS, "How long a ticket is valid."},

    {"http-port", OPTIONS_ROW_INTEGER, AT(http_port), 0, 65535, "0", 0, HTTP,
     "TCP port for /metrics, /healthz, /readyz, the status page and claims.json; 0 means none."},
    {"http-bind", OPTIONS_ROW_BIND, AT(http_bind), 1, MAX_TEXT, "127.0.0.1 -::1", 0, HTTP,
     "Addresses of the HTTP port, as in bind. It has no password: whoever reaches it may read it."},
    {"http-hosts", OPTIONS_ROW_TEXT, AT(http_hosts), 0, MAX_TEXT, "", OPTIONS_ROW_LIVE, HTTP,
     "Names by which the HTTP port may be called, with blanks between them, besides localhost and "
     "numeric addresses."},
    {"http-keys", OPTIONS_ROW_YES_NO, AT(http_keys), 0, 1, "no", OPTIONS_ROW_LIVE, HTTP,
     "Show other machines whole keys and stages. Without it they see the last 8 characters of a "
     "key."},

    {"threads", OPTIONS_ROW_INTEGER, AT(threads), 1, MAX_THREADS, "1", 0, CLIENTS,
     "Event loops, each in its own thread; more loops than cores does not help."},
    {"maxclients", OPTIONS_ROW_INTEGER, AT(maxclients), 1, MAX_CONNECTIONS, "100000",
     OPTIONS_ROW_LIVE, CLIENTS,
     "Connections at a time; the server refuses further ones with an error. Lowered to what the "
     "limit of open files allows."},
    {"timeout", OPTIONS_ROW_SECONDS, AT(timeout_s), 0, 365 * DAY_S, "0", OPTIONS_ROW_LIVE, CLIENTS,
     "Close a connection after so long without a command, but never one that waits, is subscribed "
     "or has a HELD claim with BIND; 0 means never."},
    {"client-output-limit", OPTIONS_ROW_BYTES, AT(client_output_limit), KB, 1024 * GB, "64mb",
     OPTIONS_ROW_LIVE, CLIENTS,
     "Replies that may wait for one client; above it the server reads no more of its commands, "
     "and closes a subscriber."},
    {"client-output-total", OPTIONS_ROW_BYTES, AT(client_output_total), 64 * KB, 1024 * GB, "1gb",
     OPTIONS_ROW_LIVE, CLIENTS,
     "Replies that may wait for all clients together, at most a quarter of maxmemory. Above half "
     "of it, each client may have an equal share of the rest, at most 64kb."},
    {"client-output-timeout", OPTIONS_ROW_MS, AT(client_output_timeout_ms), 1, DAY_MS, "60s",
     OPTIONS_ROW_LIVE, CLIENTS, "Close a client that reads none of its replies for so long."},
    {"client-input-total", OPTIONS_ROW_BYTES, AT(client_input_total), 64 * KB, 1024 * GB, "1gb",
     OPTIONS_ROW_LIVE, CLIENTS,
     "Half-received commands, commands queued by MULTI and names of subscriptions, of all clients "
     "together."},
    {"waiters-per-key", OPTIONS_ROW_INTEGER, AT(waiters_per_key), 1, MAX_CONNECTIONS, "10000",
     OPTIONS_ROW_LIVE, CLIENTS, "Clients that may wait on one key."},
    {"waiters-total", OPTIONS_ROW_INTEGER, AT(waiters_total), 1, MAX_CONNECTIONS, "100000",
     OPTIONS_ROW_LIVE, CLIENTS, "Clients that may wait on all keys together."},

    OPTIONS_CONTRACT_ROWS(SHARED)

    {"maxmemory", OPTIONS_ROW_MEMORY, AT(maxmemory), 0, MAX_MEMORY, "0", OPTIONS_ROW_LIVE, MEMORY,
     "Refuse new claims at this much memory; nothing is evicted. 75% means so much of what the "
     "machine or the control group has. 0 means no limit."},
    {"store-reserve", OPTIONS_ROW_BYTES, AT(store_reserve), 0, 512 * MB, "4kb", OPTIONS_ROW_LIVE,
     MEMORY, "Memory kept free for the response of each running claim, when maxmemory is set."},

    {"dir", OPTIONS_ROW_PATH, AT(dir), 0, MAX_DIR, "", 0, JOURNAL,
     "Directory of the journal, made when it is not there; \"\" means none."},
    {"appendonly", OPTIONS_ROW_KEEP, AT(appendonly), 0, OPTIONS_APPENDONLY_AUTO, "auto", 0, JOURNAL,
     "Keep a journal in dir, so that a restart forgets nothing. auto means yes when dir is set."},
    {"appendfsync", OPTIONS_ROW_SYNC, AT(appendfsync), 0, OPTIONS_APPENDFSYNC_NO, "always", 0,
     JOURNAL,
     "What is on the disk before a reply leaves. always: what it says. everysec and no: nothing is "
     "lost when the process is killed, but a power cut loses the last second, or what the system "
     "has not written."},
    {"segment-size", OPTIONS_ROW_BYTES, AT(segment_bytes), MB, GB, "64mb", 0, JOURNAL,
     "Size of the files of the journal. A whole file goes when all in it has expired."},
    {"drain-timeout", OPTIONS_ROW_MS, AT(drain_timeout_ms), 0, HOUR_MS, "60s", OPTIONS_ROW_LIVE,
     RUNNING, "How long owners may take to finish after SIGTERM; then the server leaves."},
    {"loglevel", OPTIONS_ROW_LEVEL, AT(loglevel), LOG_LEVEL_DEBUG, LOG_LEVEL_WARNING, "notice",
     OPTIONS_ROW_LIVE, RUNNING, "Log lines of this level and above."},
    {"log-format", OPTIONS_ROW_FORMAT, AT(log_format), LOG_FORMAT_TEXT, LOG_FORMAT_JSON, "text",
     OPTIONS_ROW_LIVE, RUNNING, "Form of log lines: as Redis', or a JSON object each."},
    {"slowlog-log-slower-than", OPTIONS_ROW_INTEGER, AT(slowlog_slower_us), -1, INT64_MAX / 1000,
     "10000", OPTIONS_ROW_LIVE, RUNNING,
     "Keep a command that takes at least so many microseconds in SLOWLOG; 0 keeps all, -1 none."},
    {"slowlog-max-len", OPTIONS_ROW_INTEGER, AT(slowlog_max_len), 0, 100000, "128",
     OPTIONS_ROW_LIVE, RUNNING, "Commands kept in SLOWLOG."},
    {"latency-tracking", OPTIONS_ROW_YES_NO, AT(latency_tracking), 0, 1, "yes", OPTIONS_ROW_LIVE,
     RUNNING,
     "Count how long commands take, for INFO latencystats, LATENCY HISTOGRAM and /metrics."},
    {"latency-tracking-info-percentiles", OPTIONS_ROW_PERCENTILES, AT(latency_percentiles), 0,
     MAX_TEXT, "50 99 99.9", OPTIONS_ROW_LIVE, RUNNING,
     "Percentiles that INFO latencystats shows."},
    {"enable-debug-command", OPTIONS_ROW_YES_NO, AT(enable_debug_command), 0, 1, "no", 0, RUNNING,
     "Allow DEBUG SLEEP, which stops the whole server for a while."},
    {"logfile", OPTIONS_ROW_PATH, AT(logfile), 0, MAX_TEXT, "", 0, RUNNING,
     "File to append log lines to, opened again on SIGHUP; \"\" means standard output."},
};
#define ROW_COUNT (sizeof(rows) / sizeof(rows[0]))
_Static_assert(ROW_COUNT <= OPTIONS_ROWS_MAX, "raise OPTIONS_ROWS_MAX");

size_t options_count(void) { return ROW_COUNT; }

const struct options_row *options_row(size_t index) {
  assert(index < ROW_COUNT);
  return &rows[index];
}

size_t options_index(const struct options_row *row) { return (size_t)(row - rows); }

const struct options_row *options_find(struct span name) {
  for (size_t i = 0; i < ROW_COUNT; i++) {
    if (span_is(name, rows[i].name)) return &rows[i];
  }
  return NULL;
}

void options_init(struct options *options) {
  char error[REFUSAL_BYTES];
  memset(options, 0, sizeof(*options));
  for (size_t i = 0; i < ROW_COUNT; i++) {
    struct options_value value;
    bool parsed = options_value_parse(&rows[i], span_of(rows[i].initial), &value, error);
    assert(parsed);
    (void)parsed;
    options_value_store(&rows[i], options, &value);
  }
  options->config_file = strdup("");
  assert(options->config_file != NULL);
}

void options_deinit(struct options *options) {
  for (size_t i = 0; i < ROW_COUNT; i++) {
    struct options_value none = {0};
    options_value_store(&rows[i], options, &none);
  }
  options_value_wipe(options->password, options->password != NULL ? strlen(options->password) : 0);
  options->password = NULL;
  free(options->config_file);
  options->config_file = NULL;
  options_users_clear(&options->users);
}

bool options_need_password(const struct options *options) {
  if (options->default_user == OPTIONS_DEFAULT_USER_BY_PASSWORD)
    return options->requirepass[0] != '\0' || options->aclfile[0] != '\0' || options->users != NULL;
  return options->default_user == OPTIONS_DEFAULT_USER_CLOSED;
}

void options_text(const struct options *options, const struct options_row *row,
                  char text[OPTIONS_VALUE_BYTES]) {
  if ((row->flags & OPTIONS_ROW_SECRET) != 0) {
    text[0] = '\0';
    return;
  }
  if (row->kind == OPTIONS_ROW_KEEP) { /* what it comes to: tools know yes and no */
    snprintf(text, OPTIONS_VALUE_BYTES, "%s", options_keep_journal(options) ? "yes" : "no");
    return;
  }
  if (row->kind == OPTIONS_ROW_MEMORY) { /* what it comes to: tools know bytes */
    snprintf(text, OPTIONS_VALUE_BYTES, "%lld", (long long)options->maxmemory.bytes);
    return;
  }
  options_value_text(row, options, text);
}

bool options_listen_plain(const struct options *options) {
  return options->port != 0 || options->tls_port == 0;
}

/* A default gives way to a lower maximum; a value that was set does not. */
static void follow(int64_t *value, const char *name, int64_t max) {
  struct options_value initial;
  char error[REFUSAL_BYTES];
  const struct options_row *row = options_find(span_of(name));
  if (!options_value_parse(row, span_of(row->initial), &initial, error)) return;
  if (*value == initial.number && *value > max) *value = max;
}

void options_follow_maxima(struct options *options) {
  follow(&options->limits.lease_ms, "lease", options->limits.lease_max_ms);
  follow(&options->limits.ttl_ms, "ttl", options->limits.ttl_max_ms);
  follow(&options->waiters_per_key, "waiters-per-key", options->waiters_total);
}

bool options_keep_journal(const struct options *options) {
  if (options->appendonly != OPTIONS_APPENDONLY_AUTO)
    return options->appendonly == OPTIONS_APPENDONLY_YES;
  return options->dir[0] != '\0';
}
