/*
 * ping_target.h - whom `idem-server --ping` asks: the server of a configuration, or that of a URL.
 *
 *     redis://[user@]host[:port]    rediss://... (TLS)    unix://[user@]/path
 *     idem://...                    idems://...
 *
 * No password is taken from a URL: every user of the machine can read a command line.
 */
#ifndef IDEM_SERVER_NET_PING_TARGET_H
#define IDEM_SERVER_NET_PING_TARGET_H

#include "server/ops/options.h"

#define PING_HOST_BYTES 256 /* of a name, an address or a path, with its NUL */
#define PING_USER_BYTES 129

enum ping_kind { PING_TCP, PING_TLS, PING_UNIX };

struct ping_target {
  enum ping_kind kind;
  char host[PING_HOST_BYTES]; /* PING_UNIX: the path */
  char port[6];
  char user[PING_USER_BYTES]; /* "": none */
  bool verifies; /* with TLS: that the certificate is that of the host. One's own server is asked by
                    an address that is in no certificate */
  bool own;      /* of the options */
};

/* False with the reason. The port of the options, if it names none. */
bool ping_target_of_url(const char *url, const struct options *options, struct ping_target *target,
                        char error[REFUSAL_BYTES]);
/* Its unix socket, or the first address on which it listens. False with the reason: there is none
 * that can be known. */
bool ping_target_of_options(const struct options *options, struct ping_target *target,
                            char error[REFUSAL_BYTES]);

#endif
