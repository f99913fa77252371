/*
 * shortage.c - a server whose n-th allocation fails, for every n, or n to n + k, under a load of
 * everything that clients do. The server must not end, must leave no client without an answer, and
 * must not forget what it has acknowledged. When there is memory again, all is as before.
 *
 *     shortage [--loops N] [--most N] [--step N] [--from N]
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <openssl/crypto.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "server/net/server.h"
#include "server/net/tls.h"
#include "server/ops/options_arguments.h"
#include "tests/shortage/descriptors.h"
#include "tests/shortage/load.h"
#include "tests/shortage/system.h"
#include "tests/shortage/talk.h"
#include "tests/unit/certificates.h"

/* After so many failures the server is destroyed and created again, so that both also run after
 * failures. */
#define FAILURES_PER_SERVER 200
#define PERIODS 60
/* Allocations of the start that fail each by itself, and the step after them: OpenSSL makes thousands
 * when it reads a certificate. */
#define EACH_OF_START 200
#define START_STEP 37
/* Allocations of a round over TLS: more than there are. */
#define TLS_ALLOCATIONS 6000
#define ROUNDS_PER_PERIOD 3
#define PATH_BYTES 64

struct settings {
  long loops, from, most, step;
};

struct place {
  char socket[PATH_BYTES], file[PATH_BYTES];
  struct certificates certificates;
  struct options options;
  struct log log;
  struct server *server;
  pthread_t thread;
  struct load load;
};

/* ---- the server ---- */

static int free_port(void) {
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  socklen_t len = sizeof address;
  int fd = socket(AF_INET, SOCK_STREAM, 0);
  CHECK(fd >= 0 && bind(fd, (struct sockaddr *)&address, len) == 0 &&
            getsockname(fd, (struct sockaddr *)&address, &len) == 0,
        "no port is free");
  close(fd);
  return ntohs(address.sin_port);
}

static void options_of(struct place *place, long loops) {
  char count[16], port[16], tls_port[16], http_port[16], error[REFUSAL_BYTES];
  snprintf(count, sizeof count, "%ld", loops);
  place->load.tls_port = free_port();
  place->load.http_port = free_port();
  snprintf(port, sizeof port, "%d", free_port());
  snprintf(tls_port, sizeof tls_port, "%d", place->load.tls_port);
  snprintf(http_port, sizeof http_port, "%d", place->load.http_port);
  char *arguments[] = {"shortage",
                       place->file,
                       "--port",
                       port,
                       "--tls-port",
                       tls_port,
                       "--tls-cert-file",
                       place->certificates.certificate,
                       "--tls-key-file",
                       place->certificates.key,
                       "--tls-auth-clients",
                       "no",
                       "--http-port",
                       http_port,
                       "--bind",
                       "127.0.0.1",
                       "--threads",
                       count,
                       "--unixsocket",
                       place->socket,
                       "--logfile",
                       "/dev/null",
                       "--slowlog-log-slower-than",
                       "0",
                       "--maxclients",
                       "200",
                       NULL};
  int argc = (int)(sizeof arguments / sizeof arguments[0]) - 1;
  FILE *file = fopen(place->file, "w");
  CHECK(file != NULL && fclose(file) == 0, "cannot write %s", place->file);
  options_init(&place->options);
  CHECK(options_arguments_parse(&place->options, argc, arguments, error), "%s", error);
}

static void *run(void *server) {
  server_run(server);
  return NULL;
}

/* False: error says why. */
static bool start(struct place *place, char error[REFUSAL_BYTES]) {
  system_ask_for_server();
  int status;
  place->server = server_create(&place->options, &place->log, &status, error);
  system_ask_for_test();
  if (place->server == NULL) return false;
  place->load.port = server_port(place->server);
  CHECK(pthread_create(&place->thread, NULL, run, place->server) == 0, "no thread");
  return true;
}

static void must_start(struct place *place) {
  char error[REFUSAL_BYTES];
  CHECK(start(place, error), "%s", error);
}

static void on_alarm(int signal) {
  (void)signal;
  static const char text[] = "the server does not end: it hangs\n";
  ssize_t said = write(STDERR_FILENO, text, sizeof text - 1);
  (void)said;
  abort();
}

static void stop(struct place *place) {
  signal(SIGALRM, on_alarm);
  alarm(2 * TALK_HANG_S);
  server_stop(place->server);
  pthread_join(place->thread, NULL);
  system_ask_for_server();
  server_destroy(place->server);
  system_ask_for_test();
  alarm(0);
}

/* ---- failures ---- */

/* OpenSSL keeps errors and random numbers for each thread; those of the server's own threads have
 * ended. */
static long live_now(void) {
  OPENSSL_thread_stop();
  return system_live();
}

static void fail_under_load(struct place *place, long first, long count) {
  talk_note("allocations %ld to %ld failed; round %ld", first, first + count - 1,
            place->load.round);
  system_fail_memory(first, count);
  do {
    load_round(&place->load);
  } while (!system_has_failed());
  system_recover();
  load_verify(&place->load);
}

static void sweep(struct place *place, const struct settings *settings) {
  static const long counts[] = {1, 1, 2, 1, 10, 1, 100, 1, 1, 500};
  long done = 0, live = live_now();
  for (long n = settings->from; n <= settings->most; n += settings->step, done++) {
    if (done % FAILURES_PER_SERVER == 0) {
      must_start(place);
      load_verify(&place->load);
    }
    fail_under_load(place, n, counts[(size_t)n % (sizeof counts / sizeof counts[0])]);
    bool last = n + settings->step > settings->most;
    if ((done + 1) % FAILURES_PER_SERVER != 0 && !last) continue;
    stop(place);
    CHECK(live_now() == live, "%ld allocations are left over", live_now() - live);
  }
  printf("  %ld loops: %ld failures of memory, %ld rounds\n", settings->loops, done,
         place->load.round);
}

/* The more often allocations fail, the fewer commands get far. */
static void fail_often(struct place *place, long loops) {
  long live = live_now();
  must_start(place);
  load_verify(&place->load);
  for (long period = 2; period <= PERIODS; period++) {
    talk_note("every %ldth allocation failed; round %ld", period, place->load.round);
    system_fail_every(period);
    for (unsigned i = 0; i < ROUNDS_PER_PERIOD; i++) load_round(&place->load);
    system_recover();
    load_verify(&place->load);
  }
  stop(place);
  CHECK(live_now() == live, "%ld allocations are left over", live_now() - live);
  printf("  %ld loops: every 2nd to %dth allocation failed\n", loops, PERIODS);
}

/* Inside of OpenSSL, too: the connection is refused or closed. Returns how many failed. */
static long refuse_in_tls(struct place *place, long step) {
  long done = 0;
  must_start(place);
  for (long n = 1; n <= TLS_ALLOCATIONS; n += step, done++) {
    talk_note("allocation %ld failed in TLS; round %ld", n, place->load.round);
    system_fail_memory(n, done % 5 == 0 ? 10 : 1);
    load_tls_round(&place->load);
    system_recover();
    load_verify(&place->load);
  }
  stop(place);
  return done;
}

/* First, what OpenSSL makes once in a process and keeps: also what it makes after failures. */
static void fail_tls(struct place *place, const struct settings *settings) {
  refuse_in_tls(place, 4 * settings->step + 1);
  long live = live_now(), done = refuse_in_tls(place, settings->step);
  CHECK(live_now() == live, "%ld allocations are left over", live_now() - live);
  printf("  %ld loops: %ld failures of memory in TLS\n", settings->loops, done);
}

/* The server cannot be created and says so, or it serves. */
static void fail_at_start(struct place *place, long loops) {
  char error[REFUSAL_BYTES];
  long live = live_now(), n = 1;
  for (bool failed = true; failed; n += n < EACH_OF_START ? 1 : START_STEP) {
    talk_note("allocation %ld of the start failed", n);
    system_fail_memory(n, 1);
    bool started = start(place, error);
    failed = system_has_failed();
    system_recover();
    if (started) {
      load_verify(&place->load);
      stop(place);
    }
    CHECK(live_now() == live, "%ld allocations are left over", live_now() - live);
  }
  printf("  %ld loops: allocations of the start failed, up to the %ldth\n", loops, n);
}

static void fail_descriptors(struct place *place, long loops) {
  long live = live_now();
  must_start(place);
  descriptors_test(place->load.port, place->socket);
  stop(place);
  for (long period = 2; period < 10; period++) {
    must_start(place);
    descriptors_beyond_room(place->load.port, place->socket, period);
    stop(place);
  }
  CHECK(live_now() == live, "%ld allocations are left over", live_now() - live);
  printf("  %ld loops: connections for which there is nothing\n", loops);
}

/* ---- the test ---- */

static long number_after(int argc, char **argv, const char *name, long otherwise) {
  for (int i = 1; i + 1 < argc; i++) {
    if (strcmp(argv[i], name) == 0) return strtol(argv[i + 1], NULL, 10);
  }
  return otherwise;
}

int main(int argc, char **argv) {
  struct settings settings = {
      .loops = number_after(argc, argv, "--loops", 1),
      .from = number_after(argc, argv, "--from", 1),
      .most = number_after(argc, argv, "--most", 5000),
      .step = number_after(argc, argv, "--step", 1),
  };
  struct place place = {0};
  setvbuf(stdout, NULL, _IOLBF, 0);
  signal(SIGPIPE, SIG_IGN); /* as main.c does */
  system_ask_for_test();
  snprintf(place.socket, sizeof place.socket, "/tmp/idem-shortage-%d.sock", (int)getpid());
  snprintf(place.file, sizeof place.file, "/tmp/idem-shortage-%d.conf", (int)getpid());
  tls_begin();
  certificates_make(&place.certificates);
  load_init(&place.load, place.socket);
  options_of(&place, settings.loops);
  CHECK(log_open(&place.log, place.options.logfile, LOG_LEVEL_WARNING) == 0, "no log");
  fail_tls(&place, &settings);
  fail_at_start(&place, settings.loops);
  fail_descriptors(&place, settings.loops);
  fail_often(&place, settings.loops);
  sweep(&place, &settings);
  log_close(&place.log);
  options_deinit(&place.options);
  unlink(place.file);
  certificates_remove(&place.certificates);
  return 0;
}
