/* version.h - the version of the server, as --version and INFO show it. */
#ifndef IDEM_SERVER_OPS_VERSION_H
#define IDEM_SERVER_OPS_VERSION_H

#define IDEM_VERSION "0.1.0"

#endif
