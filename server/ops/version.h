/* version.h - the version of the server, as --version and INFO show it. */
#ifndef IDEM_SERVER_OPS_VERSION_H
#define IDEM_SERVER_OPS_VERSION_H

#define IDEM_VERSION "0.1.0"
/* The Redis whose replies and texts the commands in common follow, and the version that they
 * name. */
#define IDEM_REDIS_VERSION "7.0.15"

#endif
