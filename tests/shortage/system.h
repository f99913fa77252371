/*
 * system.h - a system that has nothing left, when a test says so: the linker sends what the server
 * and libuv ask of allocator and kernel through here (--wrap; libuv is linked statically).
 *
 * What libc and jemalloc ask for themselves is not touched. Nor is the test's own thread, unless it
 * says that it asks for the server.
 */
#ifndef IDEM_TESTS_SHORTAGE_SYSTEM_H
#define IDEM_TESTS_SHORTAGE_SYSTEM_H

#include <stdbool.h>

/* From the next allocation on, the first-th (1: the next) fails and those behind it, `count` of
 * them. */
void system_fail_memory(long first, long count);
/* Every so-manieth allocation fails from now on. */
void system_fail_every(long period);
/* Whether all that were to fail have failed. */
bool system_has_failed(void);
/* Nothing fails any more. Returns how many allocations there were. */
long system_recover(void);

/* The n-th place where the server asks for a descriptor's sake. */
enum system_call { SYSTEM_ACCEPT, SYSTEM_WATCH, SYSTEM_CALLS };
/* These calls fail with `error` from now on; 0: they work again. */
void system_fail_call(enum system_call call, int error);
/* How often it failed. */
long system_failures(enum system_call call);

/* This thread asks for the test, as it does at first in main's thread, or for the server. */
void system_ask_for_test(void);
void system_ask_for_server(void);

/* Pieces that were not given back. */
long system_live(void);

#endif
