/*
 * commands.h - the six commands: request -> rules -> record and reply. The host calls them.
 */
#ifndef IDEM_SERVER_MODULE_COMMANDS_H
#define IDEM_SERVER_MODULE_COMMANDS_H

#include "server/module/api.h"

api_command commands_claim, commands_store, commands_renew, commands_release, commands_fetch,
    commands_wait;

#endif
