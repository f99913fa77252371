/*
 * options_bind.h - the value of `bind`: numeric addresses with blanks between them.
 *
 * A leading '-' means that the address may be missing on this machine; "*" is every IPv4 address,
 * "::*" and "::" are every IPv6 address. Names are not looked up. Pure.
 */
#ifndef IDEM_SERVER_OPS_OPTIONS_BIND_H
#define IDEM_SERVER_OPS_OPTIONS_BIND_H

#include "server/ops/refusal.h"

#define OPTIONS_BIND_MAX 16 /* addresses */

/* Sets *address to the next address of the list at *cursor, without its '-', and moves *cursor
 * after it; false at the end. The address borrows the list. */
bool options_bind_next(const char **cursor, struct span *address);
/* False for "*" and "::*" too. */
bool options_bind_is_loopback(struct span address);

/* name: of the option. False with the reason when the list has more than OPTIONS_BIND_MAX addresses, or a word that is
 * not an address. */
bool options_bind_check(const char *name, const char *list, char error[REFUSAL_BYTES]);
/* Rewrites the list with one space between addresses and none around them: so it fits a line of the
 * configuration file unquoted. */
void options_bind_squeeze(char *list);

#endif
