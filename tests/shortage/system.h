/*
 * system.h - makes the allocator and the kernel refuse, when a test says so: calls of the server
 * and of libuv go through here (the linker's --wrap; libuv is linked statically).
 *
 * Calls that libc and jemalloc make for themselves are not affected. Nor is the test's own thread,
 * unless it declares that it acts for the server.
 */
#ifndef IDEM_TESTS_SHORTAGE_SYSTEM_H
#define IDEM_TESTS_SHORTAGE_SYSTEM_H

#include <stdbool.h>

/* `count` allocations fail, from the first-th on (1: the next). */
void system_fail_memory(long first, long count);
/* Every period-th allocation fails from now on. */
void system_fail_every(long period);
/* Whether all these allocations have failed. */
bool system_has_failed(void);
/* Nothing fails any more. Returns how many allocations there were. */
long system_recover(void);

/* System calls that can be made to fail. */
enum system_call { SYSTEM_ACCEPT, SYSTEM_WATCH, SYSTEM_CALLS };
/* These calls fail with `error` from now on; 0: they work again. */
void system_fail_call(enum system_call call, int error);
/* How often the call failed since then. */
long system_failures(enum system_call call);

/* From now on this thread acts for the test (as main's thread does at first), or for the server. */
void system_ask_for_test(void);
void system_ask_for_server(void);

/* Allocations that were not freed. */
long system_live(void);

#endif
