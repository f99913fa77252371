/* options_live.c - see options_live.h. */
#include "server/ops/options_live.h"

#include "server/ops/options_check.h"
#include "server/ops/options_file.h"
#include "server/ops/options_nearest.h"

static bool set_password(struct options *options, const struct options_row *row,
                         struct options_value *value, char error[REFUSAL_BYTES]) {
  struct options changed = *options;
  changed.requirepass = value->text;
  changed.default_user = OPTIONS_DEFAULT_USER_BY_PASSWORD;
  if (!options_check(&changed, error)) return false;
  options_value_store(row, options, value);
  /* Otherwise CONFIG REWRITE would write two passwords. */
  options->requirepass_file[0] = '\0';
  return true;
}

/* The file is read at once. */
static bool set_password_file(struct options *options, const struct options_row *row,
                              struct options_value *value, char error[REFUSAL_BYTES]) {
  struct options changed = *options;
  if (value->text[0] == '\0' && options->requirepass_file[0] == '\0') return true;
  if (value->text[0] == '\0')
    return refusal_write(error, "%s stays until CONFIG SET requirepass sets another password",
                         row->name);
  changed.requirepass_file = value->text;
  struct options_value passwords;
  if (!options_file_read_passwords(&changed, &passwords, error)) return false;
  changed.requirepass = passwords.text;
  changed.default_user = OPTIONS_DEFAULT_USER_BY_PASSWORD;
  bool done = options_check(&changed, error);
  if (done) {
    options_value_store(row, options, value);
    options_value_store(options_find(SPAN_LITERAL("requirepass")), options, &passwords);
  }
  options_value_deinit(&passwords);
  return done;
}

/* A flat copy with the new value in it is enough to check the whole. */
static bool set_value(struct options *options, const struct options_row *row,
                      struct options_value *value, char error[REFUSAL_BYTES]) {
  struct options changed = *options;
  options_value_show(row, &changed, value);
  if (!options_check(&changed, error)) return false;
  options_value_store(row, options, value);
  return true;
}

static bool refuse_unknown(struct span name, char error[REFUSAL_BYTES]) {
  char shown[REFUSAL_SHOWN_BYTES];
  const char *near = options_nearest_name(name);
  refusal_show(name, shown);
  if (near == NULL) return refusal_write(error, "unknown option '%s'", shown);
  return refusal_write(error, "unknown option '%s', did you mean %s?", shown, near);
}

bool options_live_set(struct options *options, struct span name, struct span value,
                      char error[REFUSAL_BYTES]) {
  const struct options_row *row = options_find(name);
  if (row == NULL) return refuse_unknown(name, error);
  if ((row->flags & OPTIONS_ROW_LIVE) == 0) {
    return refusal_write(
        error,
        "%s cannot change while the server runs: set it in the configuration file or with --%s",
        row->name, row->name);
  }
  struct options_value parsed;
  if (!options_value_parse(row, value, &parsed, error)) return false;
  bool done;
  if (row->kind == OPTIONS_ROW_PASSWORD) {
    done = set_password(options, row, &parsed, error);
  } else if (row->offset == offsetof(struct options, requirepass_file)) {
    done = set_password_file(options, row, &parsed, error);
  } else {
    done = set_value(options, row, &parsed, error);
  }
  options_value_deinit(&parsed);
  if (done && (row->flags & OPTIONS_ROW_TLS) != 0) options->tls_changes++;
  return done;
}
