/* thread.c - see thread.h. */
#include "server/base/thread.h"

#include <errno.h>
#include <semaphore.h>
#include <signal.h>

#include "server/base/allocator.h"

struct beginning {
  void *(*run)(void *argument);
  void *argument;
  sem_t allocates; /* posted when the thread has had its first allocation */
};

/* The beginning lies on the stack of the thread that waits for it, and is gone after the post. */
static void *begin(void *context) {
  struct beginning *beginning = context;
  void *(*run)(void *) = beginning->run;
  void *argument = beginning->argument;
  allocator_has(1);
  sem_post(&beginning->allocates);
  return run(argument);
}

int thread_start(pthread_t *thread, void *(*run)(void *argument), void *argument) {
  struct beginning beginning = {.run = run, .argument = argument};
  sem_init(&beginning.allocates, 0, 0);
  sigset_t all, former;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &former);
  int error = pthread_create(thread, NULL, begin, &beginning);
  pthread_sigmask(SIG_SETMASK, &former, NULL);
  while (error == 0 && sem_wait(&beginning.allocates) != 0 && errno == EINTR) continue;
  sem_destroy(&beginning.allocates);
  return error;
}
