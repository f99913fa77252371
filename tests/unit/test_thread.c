/* test_thread.c - a thread that has been started has what it needs to run when memory is short. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <semaphore.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>

#include "server/base/thread.h"

#define THREADS 32 /* more than jemalloc has arenas on a small machine */

/* A sanitizer maps memory of its own whenever it likes. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED true
#elif defined(__has_feature)
#define SANITIZED (__has_feature(address_sanitizer) || __has_feature(thread_sanitizer))
#else
#define SANITIZED false
#endif

struct worker {
  pthread_t thread;
  sem_t *go;
  sigset_t blocked;
  bool had_memory;
};

static void *work(void *argument) {
  struct worker *worker = argument;
  pthread_sigmask(SIG_BLOCK, NULL, &worker->blocked);
  sem_wait(worker->go);
  void *volatile byte = malloc(1);
  worker->had_memory = byte != NULL;
  free(byte);
  return NULL;
}

static void no_signal_reaches_a_thread(void **state) {
  (void)state;
  sem_t go;
  sem_init(&go, 0, 1);
  sigset_t before, after;
  pthread_sigmask(SIG_BLOCK, NULL, &before);
  struct worker worker = {.go = &go};
  assert_int_equal(thread_start(&worker.thread, work, &worker), 0);
  pthread_sigmask(SIG_BLOCK, NULL, &after);
  pthread_join(worker.thread, NULL);
  assert_true(sigismember(&worker.blocked, SIGTERM));
  assert_true(sigismember(&worker.blocked, SIGINT));
  assert_int_equal(sigismember(&after, SIGTERM), sigismember(&before, SIGTERM));
  sem_destroy(&go);
}

static rlim_t address_space(void) {
  unsigned long pages = 0;
  FILE *file = fopen("/proc/self/statm", "r");
  assert_non_null(file);
  assert_int_equal(fscanf(file, "%lu", &pages), 1);
  fclose(file);
  return pages * 4096;
}

/* Once all are started, the process gets no memory any more. */
static void started_threads_need_no_more_memory(void **state) {
  (void)state;
  if (SANITIZED) skip();
  sem_t go;
  sem_init(&go, 0, 0);
  struct worker workers[THREADS] = {{0}};
  for (unsigned i = 0; i < THREADS; i++) {
    workers[i].go = &go;
    assert_int_equal(thread_start(&workers[i].thread, work, &workers[i]), 0);
  }
  struct rlimit limit, none;
  getrlimit(RLIMIT_AS, &limit);
  none = limit;
  none.rlim_cur = address_space();
  assert_int_equal(setrlimit(RLIMIT_AS, &none), 0);
  for (unsigned i = 0; i < THREADS; i++) sem_post(&go);
  for (unsigned i = 0; i < THREADS; i++) pthread_join(workers[i].thread, NULL);
  setrlimit(RLIMIT_AS, &limit);
  for (unsigned i = 0; i < THREADS; i++) assert_true(workers[i].had_memory);
  sem_destroy(&go);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(no_signal_reaches_a_thread),
      cmocka_unit_test(started_threads_need_no_more_memory),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
