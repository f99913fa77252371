/*
 * acl_text.h - a user as the words that make it (acl_rules.h), with single blanks between them. No
 * word has a blank in it; passwords are shown as their SHA-256.
 */
#ifndef IDEM_SERVER_OPS_ACL_TEXT_H
#define IDEM_SERVER_OPS_ACL_TEXT_H

#include <stdio.h>

#include "server/ops/user.h"

/* "NAME on #hash ~keys resetchannels -@all +get", as ACL LIST shows it after the word `user`. What
 * could not be written is known from ferror. */
void acl_text_write(FILE *out, const struct user *user);
/* "~a:* ~b:*" and "&*", as ACL GETUSER shows them. */
void acl_text_write_keys(FILE *out, const struct user *user);
void acl_text_write_channels(FILE *out, const struct user *user);

/* The text of one of these in memory; the caller frees it. NULL: memory is short. */
typedef void acl_text_part(FILE *out, const struct user *user);
char *acl_text_of(acl_text_part *part, const struct user *user, size_t *len);

#endif
