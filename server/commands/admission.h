/*
 * admission.h - before a command runs: whether what it may change can be kept.
 *
 * Room for its images is reserved in the worker's outbox and looked for in the journal, so that
 * nothing changes that cannot be written. When the disk is full, CLAIM and SET are refused first,
 * while owners go on; the last room is for what frees only.
 *
 * It must not know how images are kept (journaling.h), nor what a command does. Only with a
 * journal. Each function is called by the worker's own thread.
 */
#ifndef IDEM_SERVER_COMMANDS_ADMISSION_H
#define IDEM_SERVER_COMMANDS_ADMISSION_H

#include "server/commands/call.h"

/* false: an error was replied. */
bool admission_keeps(struct call *call);
/* The error of a CLAIM that would be granted if there were room. */
void admission_refuse_claim(struct call *call);

#endif
