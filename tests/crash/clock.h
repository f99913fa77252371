/*
 * clock.h - the journal's clock, in the place of the system's (--wrap=clock_gettime): each look at
 * it takes 150 us. So slices of trimming end after as many records in every run, and often before
 * the segment does.
 */
#ifndef IDEM_TESTS_CRASH_CLOCK_H
#define IDEM_TESTS_CRASH_CLOCK_H

#include <time.h>

int __wrap_clock_gettime(clockid_t clock, struct timespec *now);
/* The system's. */
double clock_real_s(void);

#endif
