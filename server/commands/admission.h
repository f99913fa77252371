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
/* Of a command that deletes more keys, admission_keeps counts only that each is absent afterwards;
 * the command counts, under the locks, how many have a claim (keys_has_claim), and asks for these
 * before it changes anything: as many images as there may be of each key would be 46 MB for 10,000
 * of them. Not in EXEC, which has asked for all. */
#define ADMISSION_COUNTED_KEYS 64u
static inline bool admission_counts(const struct call *call) {
  return call->argc > ADMISSION_COUNTED_KEYS + 1 && !call->in_exec && call->worker->journal != NULL;
}
bool admission_keeps_claims(struct call *call, size_t claims);
/* The error of a CLAIM that would be granted if there were room. */
void admission_refuse_claim(struct call *call);

#endif
