/*
 * thread.h - a thread of the library's own. Signals belong to those of the application.
 */
#ifndef IDEM_CLIENT_THREAD_H
#define IDEM_CLIENT_THREAD_H

#include <pthread.h>
#include <stdbool.h>

/* To be joined. False: there is none to be had. */
bool thread_start(pthread_t *thread, void *(*run)(void *argument), void *argument);

#endif
