/*
 * alarm.h - what happens without a command: waits and leases of keys that somebody waits for,
 * connections of claims with BIND that were closed, replies that were not written.
 *
 * One timer of the host, at the earliest deadline. The host's own time-out of a blocked client is
 * not used: its event loop does not wake up for it, so it comes late (66 ms, median of 7.0).
 */
#ifndef IDEM_SERVER_MODULE_ALARM_H
#define IDEM_SERVER_MODULE_ALARM_H

#include "server/module/host.h"

/* To be called when waiters, bindings or undos have changed. */
void alarm_set(struct host *of);

#endif
