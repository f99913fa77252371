/* reload.c - see reload.h. */
#include "server/net/reload.h"

#include <string.h>

#include "server/base/clock.h"
#include "server/commands/access.h"
#include "server/commands/config.h"

static bool log_again(const struct reload *reload, char error[REFUSAL_BYTES]) {
  int result = log_reopen(reload->worker->log);
  return result == 0 || refusal_write(error, "cannot be opened again: %s", strerror(-result));
}

static bool password_again(const struct reload *reload, char error[REFUSAL_BYTES]) {
  return config_reload_password(reload->worker, error);
}

static bool certificates_again(const struct reload *reload, char error[REFUSAL_BYTES]) {
  access_pause_others(reload->worker);
  const char *refused = tls_renew(reload->tls, reload->worker->options, error);
  access_resume_others(reload->worker);
  return refused == NULL;
}

/* In this order. False with the reason, and nothing changed. */
static const struct {
  const char *what; /* an option */
  bool (*again)(const struct reload *reload, char error[REFUSAL_BYTES]);
} rows[] = {
    {"logfile", log_again},
    {"requirepass-file", password_again},
    {"TLS", certificates_again},
};

static int64_t now_ms(void) { return (int64_t)(clock_monotonic_ns() / 1000000); }

static void read_all(const struct reload *reload) {
  char error[REFUSAL_BYTES];
  struct log *log = reload->worker->log;
  unsigned failed = 0;
  notify_send(reload->notify, "RELOADING=1\nMONOTONIC_USEC=%llu",
              (unsigned long long)(clock_monotonic_ns() / 1000));
  for (unsigned i = 0; i < sizeof rows / sizeof rows[0]; i++) {
    if (rows[i].again(reload, error)) continue;
    log_line(log, LOG_LEVEL_WARNING, "SIGHUP: %s stays as it was: %s", rows[i].what, error);
    failed++;
  }
  if (failed == 0) log_line(log, LOG_LEVEL_NOTICE, "SIGHUP: files are read again");
  notify_send(reload->notify, "READY=1");
}

void reload_cron(struct reload *reload) {
  if (!reload->wanted || now_ms() - reload->ended_ms < RELOAD_APART_MS) return;
  reload->wanted = false;
  read_all(reload);
  reload->ended_ms = now_ms();
}

void reload_ask(struct reload *reload) {
  reload->wanted = true;
  reload_cron(reload);
}
