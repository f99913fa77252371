/* descriptors.c - see descriptors.h. */
#include "tests/shortage/descriptors.h"

#include <errno.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "tests/shortage/system.h"
#include "tests/shortage/talk.h"

/* More than libuv has room for at first, and fewer than maxclients. */
#define CROWD 170
#define ONE_EACH 8 /* so that each loop has at least one */
/* A listener that pauses tries again at the next cron tick, so it fails a few times a second; one
 * that spins fails some hundred thousand times. */
#define SPINNING 1000
#define TRIES 10000

struct place {
  int port;
  const char *path;
  struct talk old[ONE_EACH]; /* connections opened before the shortage */
  struct talk *crowd;
};

static void must_answer(struct talk *talk, const char *whom) {
  const char *reply = talk_ask(talk, "PING");
  CHECK(reply != NULL && strcmp(reply, "+PONG") == 0, "%s: '%s' for a PING", whom,
        reply != NULL ? reply : "closed");
}

static void check_old(struct place *place) {
  for (unsigned i = 0; i < ONE_EACH; i++) must_answer(&place->old[i], "a connection from before");
}

/* Alternately over TCP and through the unix socket. */
static void open_crowd(struct place *place) {
  for (int i = 0; i < CROWD; i++)
    talk_open(&place->crowd[i], i % 2 == 0 ? place->port : 0, place->path);
}

static void close_crowd(struct place *place) {
  for (int i = 0; i < CROWD; i++) talk_close(&place->crowd[i]);
}

/* The server ends these connections although no command was sent on them. */
static void all_are_refused(struct place *place) {
  for (int i = 0; i < CROWD; i++) {
    const char *reply = talk_hear(&place->crowd[i]);
    CHECK(talk_refused(reply), "'%s' unasked", reply);
    CHECK(reply == NULL || talk_hear(&place->crowd[i]) == NULL, "refused, but not closed");
  }
}

/* The server may count refused connections for a moment longer, so there is room for both. */
static void all_are_served(struct place *place) {
  open_crowd(place);
  for (int i = 0; i < CROWD; i++) must_answer(&place->crowd[i], "a new connection");
  close_crowd(place);
}

static void no_memory(struct place *place) {
  talk_note("no memory for connections");
  system_fail_memory(1, LONG_MAX / 2);
  open_crowd(place);
  all_are_refused(place);
  check_old(place);
  system_recover();
  all_are_served(place);
}

static void no_descriptor(struct place *place, int error) {
  talk_note("accept: %s", strerror(error));
  system_fail_call(SYSTEM_ACCEPT, error);
  open_crowd(place);
  check_old(place);
  struct timespec rest = {.tv_nsec = 300 * 1000 * 1000};
  nanosleep(&rest, NULL);
  check_old(place);
  CHECK(system_failures(SYSTEM_ACCEPT) > 0, "accept was not tried");
  CHECK(system_failures(SYSTEM_ACCEPT) < SPINNING, "the listener spins: %ld times",
        system_failures(SYSTEM_ACCEPT));
  system_fail_call(SYSTEM_ACCEPT, 0);
  for (int i = 0; i < CROWD; i++) must_answer(&place->crowd[i], "a connection that waited");
  close_crowd(place);
}

static void no_watch(struct place *place, int error) {
  talk_note("epoll: %s", strerror(error));
  system_fail_call(SYSTEM_WATCH, error);
  open_crowd(place);
  all_are_refused(place);
  CHECK(system_failures(SYSTEM_WATCH) > 0, "the kernel was not asked to watch");
  check_old(place);
  system_fail_call(SYSTEM_WATCH, 0);
  all_are_served(place);
}

void descriptors_beyond_room(int port, const char *path, long period) {
  struct place place = {.port = port, .path = path, .crowd = calloc(CROWD, sizeof *place.crowd)};
  CHECK(place.crowd != NULL, "no memory");
  talk_note("every %ldth allocation for connections failed", period);
  system_fail_every(period);
  open_crowd(&place);
  for (int i = 0; i < CROWD; i++) {
    const char *reply = talk_ask(&place.crowd[i], "PING");
    CHECK(talk_refused(reply) || strcmp(reply, "+PONG") == 0, "'%s' for a PING", reply);
  }
  system_recover();
  close_crowd(&place);
  const char *reply = NULL; /* refused until the server no longer counts the closed ones */
  for (int tries = 0; tries < TRIES && (reply == NULL || strcmp(reply, "+PONG") != 0); tries++) {
    talk_close(place.crowd);
    talk_open(place.crowd, port, path);
    reply = talk_ask(place.crowd, "PING");
  }
  CHECK(reply != NULL && strcmp(reply, "+PONG") == 0, "nothing is served any more");
  close_crowd(&place);
  free(place.crowd);
}

void descriptors_test(int port, const char *path) {
  struct place place = {.port = port, .path = path, .crowd = calloc(CROWD, sizeof *place.crowd)};
  CHECK(place.crowd != NULL, "no memory");
  for (unsigned i = 0; i < ONE_EACH; i++) {
    talk_open(&place.old[i], port, path);
    must_answer(&place.old[i], "the first connection");
  }
  no_memory(&place);
  no_descriptor(&place, EMFILE);
  no_descriptor(&place, ENFILE);
  no_descriptor(&place, ENOMEM);
  no_descriptor(&place, ENOBUFS);
  no_watch(&place, ENOSPC);
  no_watch(&place, ENOMEM);
  for (unsigned i = 0; i < ONE_EACH; i++) talk_close(&place.old[i]);
  free(place.crowd);
}
