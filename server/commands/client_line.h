/* client_line.h - a session as a line of CLIENT LIST. By its worker's thread, or while all other
 * loops are paused. */
#ifndef IDEM_SERVER_COMMANDS_CLIENT_LINE_H
#define IDEM_SERVER_COMMANDS_CLIENT_LINE_H

#include "server/commands/session.h"

/* A longer line is cut. */
#define CLIENT_LINE_BYTES 4608

/* Returns the length of the line, its newline included. */
size_t client_line(const struct worker *worker, const struct session *session,
                   char line[CLIENT_LINE_BYTES + 1]);

#endif
