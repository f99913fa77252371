/*
 * harness.h - what the tests of libidem share: a server of their own, conditions to await, checks
 * that say where they failed.
 *
 * The server is the program named by IDEM_SERVER (build/release/idem-server). It listens on
 * loopback, on a port of the kernel's choice, and ends with the test by its own pid.
 */
#ifndef IDEM_TESTS_CLIENT_HARNESS_H
#define IDEM_TESTS_CLIENT_HARNESS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "client/idem.h"

/* When something that has to happen is given up. It says "hangs", never "is slow": no test of
 * libidem may depend on the speed of the machine. What has to be done before a time is over is
 * tried again with SCALE times as much of it, PATIENCE times. */
#define HANG_MS 60000
#define SCALE 4
#define PATIENCE 4

/* Unlike assert it is never compiled out and prints what was seen. */
#define CHECK(condition, ...)                                                    \
  do {                                                                           \
    if (!(condition)) harness_fail(__FILE__, __LINE__, #condition, __VA_ARGS__); \
  } while (0)

_Noreturn void harness_fail(const char *file, int line, const char *condition, const char *format,
                            ...) __attribute__((format(printf, 4, 5)));

struct server {
  pid_t pid;
  int port;
  int log; /* the read end of its stdout */
};

/* Extra arguments end with NULL. port 0: of the kernel's choice. Another one is awaited: it may for
 * a moment be the near end of somebody's connection. */
void server_start(struct server *server, int port, const char *const *arguments);
void server_kill(struct server *server, int signal);

/* "redis://127.0.0.1:port" in a static buffer per call site's own array. */
void url_of(char *out, size_t size, int port);

int64_t now_ms(void);
int64_t cpu_ns(void); /* of this thread */
void pause_ms(int64_t ms);
/* Descriptors open in this process. */
int open_descriptors(void);

/* A number from INFO idem: "waiters", "held", ... */
long server_count(int port, const char *field);

/* The options, with time limits that only a server which hangs reaches, where they set none. */
struct idem_options patient_options(const struct idem_options *options);
/* A client that must open, with such limits. */
struct idem_client *must_open(int port, const struct idem_options *options);
struct idem_client *must_open_url(const char *url, const struct idem_options *options);
/* A claim of the key that must be granted, without a renewer. */
struct idem_claim *must_begin_key(struct idem_client *client, const char *key);
/* An idem_work that adds 1 to its context, an int, and answers "made". */
int count_work(struct idem_claim *claim, void *context, struct idem_result *result);

#endif
