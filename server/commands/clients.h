/* clients.h - CLIENT LIST, INFO, KILL, PAUSE ...: what connections there are, and how they are
 * treated. CLIENT REPLY is in silence.h, a connection's name in connection.h. */
#ifndef IDEM_SERVER_COMMANDS_CLIENTS_H
#define IDEM_SERVER_COMMANDS_CLIENTS_H

#include "server/commands/call.h"

void clients_info(struct call *call);
void clients_list(struct call *call);
void clients_kill(struct call *call);
void clients_pause(struct call *call);
void clients_unpause(struct call *call);
void clients_unblock(struct call *call);
void clients_switch(struct call *call);   /* NO-EVICT, NO-TOUCH: ON|OFF, accepted without effect */
void clients_tracking(struct call *call); /* refused: nothing is invalidated here */
void clients_caching(struct call *call);
void clients_getredir(struct call *call);

#endif
