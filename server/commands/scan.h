/* scan.h - KEYS, SCAN, RANDOMKEY: finding keys that are not known, as in Redis. */
#ifndef IDEM_SERVER_COMMANDS_SCAN_H
#define IDEM_SERVER_COMMANDS_SCAN_H

#include "server/commands/call.h"

void scan_keys(struct call *call);
void scan_from(struct call *call); /* SCAN: from a cursor */
void scan_randomkey(struct call *call);

#endif
