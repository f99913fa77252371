/*
 * info.h - INFO: figures in the sections and under the names that monitoring of Redis reads, and
 * idem's own.
 *
 * It counts nothing itself: the rooms that count offer tables of rows, and info.c says how to add
 * one. Called by the worker's own thread while the other loops are paused, so that the figures of
 * all workers are of one moment.
 */
#ifndef IDEM_SERVER_COMMANDS_INFO_H
#define IDEM_SERVER_COMMANDS_INFO_H

#include "server/commands/call.h"

/* INFO [section ...]. An unknown section has no lines, as in Redis. */
void info_command(struct call *call);

#endif
