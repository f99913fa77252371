/*
 * limit.c - runs each test of a cmocka program in its own process, with a time limit.
 *
 * A test that hangs, or that dies in a way that cmocka does not catch (an assertion of the server,
 * a failure inside a fixture, _exit), is reported by name, and the tests after it run. Linked into
 * every test program with --wrap. $IDEM_TEST_LIMIT_S is far more than any test needs on any
 * machine.
 */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define DEFAULT_LIMIT_S 300u

int __real__cmocka_run_group_tests(const char *name, const struct CMUnitTest *tests, size_t count,
                                   CMFixtureFunction setup, CMFixtureFunction teardown);
int __wrap__cmocka_run_group_tests(const char *name, const struct CMUnitTest *tests, size_t count,
                                   CMFixtureFunction setup, CMFixtureFunction teardown);

struct group {
  const char *name;
  CMFixtureFunction setup, teardown;
};

static unsigned limit_s(void) {
  const char *given = getenv("IDEM_TEST_LIMIT_S");
  return given != NULL ? (unsigned)atoi(given) : DEFAULT_LIMIT_S;
}

/* In the child. The test and all that it starts are one process group. */
static void run_alone(const struct group *group, const struct CMUnitTest *test) {
  setpgid(0, 0);
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  alarm(limit_s());
  int failed = __real__cmocka_run_group_tests(group->name, test, 1, group->setup, group->teardown);
  exit(failed != 0);
}

static void tell(const struct CMUnitTest *test, int status) {
  if (!WIFSIGNALED(status)) {
    fprintf(stderr, "FAILED: %s\n", test->name);
  } else if (WTERMSIG(status) == SIGALRM) {
    fprintf(stderr, "FAILED (timeout): %s did not end within %u s\n", test->name, limit_s());
  } else {
    fprintf(stderr, "FAILED: %s died: %s\n", test->name, strsignal(WTERMSIG(status)));
  }
}

static int run_apart(const struct group *group, const struct CMUnitTest *test) {
  int status = 0;
  fflush(NULL);
  pid_t pid = fork();
  if (pid == 0) run_alone(group, test);
  if (pid < 0 || waitpid(pid, &status, 0) != pid) {
    perror("fork");
    return 1;
  }
  kill(-pid, SIGKILL); /* processes that the test has left running */
  if (status != 0) tell(test, status);
  return status != 0;
}

int __wrap__cmocka_run_group_tests(const char *name, const struct CMUnitTest *tests, size_t count,
                                   CMFixtureFunction setup, CMFixtureFunction teardown) {
  const struct group group = {name, setup, teardown};
  int failed = 0;
  for (size_t i = 0; i < count; i++) failed += run_apart(&group, &tests[i]);
  fprintf(stderr, "%s: %zu tests, %d failed\n", name, count, failed);
  return failed;
}
