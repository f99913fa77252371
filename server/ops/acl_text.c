/* acl_text.c - see acl_text.h. */
#include "server/ops/acl_text.h"

#include <inttypes.h>
#include <stdlib.h>

static void write_patterns(FILE *out, const struct user_patterns *patterns, char sign) {
  if (patterns->any) fprintf(out, "%c*", sign);
  for (size_t i = 0; i < patterns->count; i++) {
    if (i > 0) fputc(' ', out);
    fputc(sign, out);
    fwrite(patterns->all[i].text, 1, patterns->all[i].len, out);
  }
}

void acl_text_write_keys(FILE *out, const struct user *user) {
  write_patterns(out, &user->keys, '~');
}

void acl_text_write_channels(FILE *out, const struct user *user) {
  write_patterns(out, &user->channels, '&');
}

static void write_passwords(FILE *out, const struct user *user) {
  if (user->nopass) fputs(" nopass", out);
  for (size_t i = 0; i < user->password_count; i++) {
    char text[DIGEST_HEX];
    digest_text(&user->passwords[i].digest, text);
    fprintf(out, " #%.*s", (int)sizeof text, text);
  }
}

void acl_text_write(FILE *out, const struct user *user) {
  fwrite(user->name, 1, user->name_len, out);
  fputs(user->on ? " on" : " off", out);
  write_passwords(out, user);
  if (user->keys.any || user->keys.count > 0) fputc(' ', out);
  acl_text_write_keys(out, user);
  if (!user->channels.any) fputs(" resetchannels", out);
  if (user->channels.any || user->channels.count > 0) fputc(' ', out);
  acl_text_write_channels(out, user);
  fprintf(out, " %s", user->command_rules);
  if (user->quota_claims > 0) fprintf(out, " quota-claims %" PRIu64, user->quota_claims);
  if (user->quota_waiters > 0) fprintf(out, " quota-waiters %" PRIu64, user->quota_waiters);
}

char *acl_text_of(acl_text_part *part, const struct user *user, size_t *len) {
  char *text = NULL;
  FILE *out = open_memstream(&text, len);
  if (out == NULL) return NULL;
  part(out, user);
  bool failed = ferror(out) != 0;
  if (fclose(out) == 0 && !failed) return text;
  free(text);
  return NULL;
}
