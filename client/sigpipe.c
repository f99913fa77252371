/* sigpipe.c - see sigpipe.h. */
#include "client/sigpipe.h"

#include <errno.h>
#include <pthread.h>
#include <time.h>

void sigpipe_hold(struct sigpipe *sigpipe) {
  sigset_t pipe_only, pending;
  sigemptyset(&pipe_only);
  sigaddset(&pipe_only, SIGPIPE);
  sigpending(&pending);
  sigpipe->pending = sigismember(&pending, SIGPIPE) == 1;
  pthread_sigmask(SIG_BLOCK, &pipe_only, &sigpipe->before);
}

void sigpipe_release(const struct sigpipe *sigpipe) {
  int error = errno;
  if (!sigpipe->pending) {
    sigset_t pipe_only;
    const struct timespec none = {0, 0};
    sigemptyset(&pipe_only);
    sigaddset(&pipe_only, SIGPIPE);
    while (sigtimedwait(&pipe_only, NULL, &none) < 0 && errno == EINTR) continue;
  }
  pthread_sigmask(SIG_SETMASK, &sigpipe->before, NULL);
  errno = error;
}
