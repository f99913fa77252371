/*
 * acl_rules.h - Redis' language for users, one word at a time:
 *
 *     on off   >password <password #sha256 !sha256 nopass resetpass
 *     ~pattern %RW~pattern allkeys resetkeys   &pattern allchannels resetchannels
 *     +command -command +command|sub -command|sub +@category -@category allcommands nocommands
 *     quota-claims N   quota-waiters N   reset
 *
 * Words are read in their order, so "+@all -flushall" is not "-flushall +@all". What Redis has and
 * this does not (selectors, keys to read only, arguments of commands) is refused; words about
 * payloads, which there are none of here, are taken and mean nothing. Texts are Redis 7.0's.
 *
 * Keeps: the words that acl_text.h writes make the same user again.
 */
#ifndef IDEM_SERVER_OPS_ACL_RULES_H
#define IDEM_SERVER_OPS_ACL_RULES_H

#include "server/ops/refusal.h"
#include "server/ops/users.h"

/* Changes the user as words[0..count) say. False with what is wrong with words[*bad] in error; the
 * user is then changed as far as the words before it, so give it a copy. A password is not repeated
 * in the error. */
bool acl_rules_apply(const struct users *users, struct user *user, const struct span *words,
                     size_t count, size_t *bad, char error[REFUSAL_BYTES]);

/* Makes the user's passwords those of `digests`, as the option requirepass has them: SHA-256 in
 * hexadecimal, with blanks between them; "": nopass. False: memory is short. */
bool acl_rules_set_passwords(struct user *user, const char *digests);

/* Whether a name may be a user's: 1 to USER_NAME_MAX bytes, without blanks and NULs. */
bool acl_rules_name_fits(struct span name);

#endif
