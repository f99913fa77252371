/*
 * audit.h - lines of the log that say who did what an operator may want to know later: FLUSHALL,
 * CLEAR, CONFIG SET, changes of users. Called from within the command, after it has succeeded.
 *
 * No secrets, and no keys: a key is shown as a number that is the same for the same key while the
 * server keeps its hash secret (with a journal: across starts); at loglevel debug as it is.
 */
#ifndef IDEM_SERVER_COMMANDS_AUDIT_H
#define IDEM_SERVER_COMMANDS_AUDIT_H

#include "proto/rare.h"
#include "server/commands/call.h"

/* "TEXT by client 7 from 127.0.0.1:5000". Always written: for what only an administrator can do. */
__attribute__((format(printf, 2, 3))) void audit_note(const struct call *call, const char *format,
                                                      ...);
/* One line of the kind in a second; the others are counted. */
RARE void audit_flush(const struct call *call);
/* Of the call's key. */
RARE void audit_clear(const struct call *call);

#endif
