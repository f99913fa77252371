/* arguments.h - arguments that several families read in the same way, and the error when they
 * cannot. The words of the six commands are rules/request.h's. */
#ifndef IDEM_SERVER_COMMANDS_ARGUMENTS_H
#define IDEM_SERVER_COMMANDS_ARGUMENTS_H

#include "server/commands/call.h"

/* Reads a whole number into *value. False: it is none, or out of range; that is replied. */
bool arguments_integer(struct call *call, struct span text, long long *value);

#endif
