/*
 * sigpipe.h - writes without MSG_NOSIGNAL, which are those of hiredis and of OpenSSL (whose reads
 * may write too), must not end the process when the server has hung up.
 *
 *     struct sigpipe sigpipe;
 *     sigpipe_hold(&sigpipe);
 *     ... write ...
 *     sigpipe_release(&sigpipe);
 *
 * Of this thread alone. A SIGPIPE that was pending before stays pending.
 */
#ifndef IDEM_CLIENT_SIGPIPE_H
#define IDEM_CLIENT_SIGPIPE_H

#include <signal.h>
#include <stdbool.h>

struct sigpipe {
  sigset_t before;
  bool pending;
};

/* Holds it back. */
void sigpipe_hold(struct sigpipe *sigpipe);
/* Takes away one that has come meanwhile, and restores what was. errno is kept. */
void sigpipe_release(const struct sigpipe *sigpipe);

#endif
