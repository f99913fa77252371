/* config.h - CONFIG: shows the options table to clients, and changes it for them. */
#ifndef IDEM_SERVER_COMMANDS_CONFIG_H
#define IDEM_SERVER_COMMANDS_CONFIG_H

#include "server/commands/call.h"

void config_get(struct call *call);
/* On SIGHUP, on the first loop, in a turn: takes the password of requirepass-file again. A new one
 * ends all sessions of the former. False with the reason: the former stays. */
bool config_reload_password(struct worker *worker, char error[REFUSAL_BYTES]);
void config_set(struct call *call); /* all of the pairs, or none */
void config_resetstat(struct call *call);
void config_rewrite(struct call *call);

#endif
