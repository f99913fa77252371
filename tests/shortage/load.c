/* load.c - see load.h. */
#include "tests/shortage/load.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/shortage/talk.h"

#define TALKS 16
#define LARGE_BYTES 20000     /* a reference in the output, not a copy */
#define RECEIVED_BYTES 100000 /* received directly into the memory that keeps it */
#define SILENT_BYTES 70000    /* an output that is not kept for the next turn */
#define PIPELINED 60
/* Without the section whose lines depend on the keys. */
#define INFO "INFO server clients memory persistence stats replication cpu idem threads"

static struct talk talks[TALKS];

void load_init(struct load *load, const char *path) {
  *load = (struct load){.path = path};
  for (unsigned i = 0; i < TALKS; i++) talks[i].fd = -1;
}

static bool begins(const char *reply, const char *with) {
  return strncmp(reply, with, strlen(with)) == 0;
}

/* Checks that a reply is the wanted one or a refusal. True: the wanted one. */
static bool granted(const char *reply, const char *wanted) {
  if (talk_refused(reply)) return false;
  CHECK(begins(reply, wanted), "'%s' instead of '%s'", reply, wanted);
  return true;
}

static struct talk *open_talk(const struct load *load, unsigned number) {
  talk_open(&talks[number], load->port, load->path);
  return &talks[number];
}

static void close_talks(void) {
  for (unsigned i = 0; i < TALKS; i++) talk_close(&talks[i]);
}

/* ---- what was acknowledged ---- */

enum fact {
  TAKEN, /* a caller was told to run it: no other may be, until it is given back */
  DONE,  /* stored */
  SET    /* a string */
};

#define TRUTHS_MAX 4096
#define KEY_BYTES 32

static struct {
  struct truth {
    char key[KEY_BYTES];
    enum fact fact;
    int bytes; /* of the body or string */
  } all[TRUTHS_MAX];
  unsigned count;
} truths;

static void learn(const char *key, enum fact fact, int bytes) {
  CHECK(truths.count < TRUTHS_MAX, "more than %d truths", TRUTHS_MAX);
  struct truth *truth = &truths.all[truths.count++];
  *truth = (struct truth){.fact = fact, .bytes = bytes};
  snprintf(truth->key, sizeof truth->key, "%s", key);
}

/* A later fact of the same key replaces the earlier one. */
static bool is_outdated(unsigned index) {
  for (unsigned i = index + 1; i < truths.count; i++) {
    if (strcmp(truths.all[i].key, truths.all[index].key) == 0) return true;
  }
  return false;
}

static void check_length(const char *reply, const struct truth *truth) {
  char length[32];
  snprintf(length, sizeof length, "...%d", truth->bytes);
  CHECK(strstr(reply, length) != NULL, "%s: '%s' instead of %d bytes", truth->key, reply,
        truth->bytes);
}

static void check_truth(struct talk *talk, const struct truth *truth) {
  static const char *const asks[] = {[TAKEN] = "CLAIM", [DONE] = "FETCH", [SET] = "GET"};
  static const char *const answers[] = {[TAKEN] = "", [DONE] = "DONE x", [SET] = "x"};
  const char *reply = talk_ask(talk, "%s %s", asks[truth->fact], truth->key);
  CHECK(reply != NULL, "%s: the connection was closed", truth->key);
  CHECK(begins(reply, answers[truth->fact]), "%s: '%s'", truth->key, reply);
  if (truth->fact == TAKEN) {
    CHECK(!begins(reply, "CLAIMED"), "%s is granted twice", truth->key);
  } else {
    check_length(reply, truth);
  }
}

void load_verify(struct load *load) {
  for (unsigned i = 0; i < 8; i++) { /* so that each loop has at least one */
    struct talk *talk = open_talk(load, i);
    const char *reply = talk_ask(talk, "PING");
    CHECK(reply != NULL && strcmp(reply, "+PONG") == 0, "'%s' for a PING", reply);
  }
  for (unsigned i = 0; i < truths.count; i++) {
    if (!is_outdated(i)) check_truth(&talks[i % 8], &truths.all[i]);
  }
  truths.count = 0;
  talk_ask(&talks[0], INFO);
  load->info_lines = talks[0].lines;
  const char *reply = talk_ask(&talks[0], "FLUSHALL");
  CHECK(reply != NULL && strcmp(reply, "+OK") == 0, "'%s' for FLUSHALL", reply);
  close_talks();
}

/* ---- claims and responses ---- */

static long long token_of(const char *claimed) {
  return strtoll(claimed + strlen("CLAIMED :"), NULL, 10);
}

/* 0: not granted. */
static long long claim(struct talk *talk, const char *key, const char *options) {
  const char *reply = talk_ask(talk, "CLAIM %s%s", key, options);
  if (!granted(reply, "CLAIMED :")) return 0;
  return token_of(reply);
}

static void store(struct talk *talk, const char *key, long long token, int bytes) {
  const char *reply = talk_ask(talk, "STORE %s %lld @%d META meta", key, token, bytes);
  if (granted(reply, ":")) learn(key, DONE, bytes);
}

static void run_once(struct load *load, struct talk *talk, const char *name, int bytes) {
  char key[KEY_BYTES];
  snprintf(key, sizeof key, "%s-%ld", name, load->round);
  long long token = claim(talk, key, " LEASE 600000 OWNER owner FP fingerprint");
  if (token == 0) return;
  learn(key, TAKEN, 0);
  granted(talk_ask(talk, "RENEW %s %lld STAGE half", key, token), ":");
  store(talk, key, token, bytes);
  const char *reply = talk_ask(talk, "CLAIM %s FP fingerprint OWNER other", key);
  if (talk_refused(reply)) return;
  CHECK(begins(reply, "DONE x") || begins(reply, "BUSY"), "%s: '%s'", key, reply);
}

static void step_claims(struct load *load) {
  struct talk *talk = open_talk(load, 0);
  run_once(load, talk, "a", 200);
  run_once(load, talk, "large", LARGE_BYTES);
  run_once(load, talk, "received", RECEIVED_BYTES);
  run_once(load, open_talk(load, 1), "b", 101);
}

/* A waiter gets an answer, whatever becomes of the owner. */
static void step_waiting(struct load *load) {
  char key[KEY_BYTES];
  snprintf(key, sizeof key, "waited-%ld", load->round);
  struct talk *owner = open_talk(load, 0), *next = open_talk(load, 1), *reader = open_talk(load, 2);
  long long token = claim(owner, key, " BIND");
  if (token == 0) return;
  talk_say(next, "CLAIM %s BIND WAIT 60000", key);
  talk_say(reader, "WAIT %s 100", key);
  if (load->round % 3 == 0) store(owner, key, token, 200);
  if (load->round % 3 == 1) granted(talk_ask(owner, "RELEASE %s %lld", key, token), ":1");
  talk_close(owner); /* its claim ends now, if it has not yet */
  const char *reply = talk_hear(next);
  if (!talk_refused(reply) && begins(reply, "CLAIMED :")) {
    store(next, key, token_of(reply), 200);
  } else if (!talk_refused(reply)) {
    CHECK(begins(reply, "DONE x"), "'%s' for a waiter", reply);
  }
  talk_hear(reader);
}

/* Replies that the socket does not take at once. */
static void step_pipeline(struct load *load) {
  char key[KEY_BYTES];
  snprintf(key, sizeof key, "large-%ld", load->round);
  struct talk *talk = &talks[0], *rude = &talks[1];
  talk_open(talk, 0, load->path); /* a unix socket, whose buffers do not grow */
  talk_open(rude, 0, load->path);
  for (unsigned i = 0; i < PIPELINED; i++) {
    talk_say(talk, "FETCH %s", key);
    talk_say(rude, "FETCH %s", key);
  }
  talk_close(rude);
  for (unsigned i = 0; i < PIPELINED; i++) {
    const char *reply = talk_hear(talk);
    if (reply == NULL) return;
    bool fits = begins(reply, "DONE x") || begins(reply, "BUSY") || begins(reply, "LAPSED") ||
                strcmp(reply, "_") == 0;
    CHECK(fits || talk_refused(reply), "'%s' for FETCH", reply);
  }
}

/* ---- strings and transactions ---- */

static void step_strings(struct load *load) {
  char key[KEY_BYTES];
  struct talk *talk = open_talk(load, 0);
  snprintf(key, sizeof key, "string-%ld", load->round);
  if (granted(talk_ask(talk, "SET %s @300", key), "+OK")) learn(key, SET, 300);
  if (granted(talk_ask(talk, "SET %s @%d", key, LARGE_BYTES), "+OK")) learn(key, SET, LARGE_BYTES);
  talk_ask(talk, "SET short-%ld @10 PX 5", load->round);
  talk_ask(talk, "INCRBY counter 7");
  talk_ask(talk, "MSET a @10 b @10 c @10 d @10 e @10 f @10 g @10 h @10 i @10 j @10 k @10 l @10");
  talk_ask(talk, "DEL a b c d e f g h i j k l m n o p q r s t u v w x y z");
  talk_ask(talk, "KEYS *");
  talk_ask(talk, "SCAN 0 COUNT 100");
}

static void step_transaction(struct load *load) {
  char key[KEY_BYTES];
  struct talk *talk = open_talk(load, 0);
  snprintf(key, sizeof key, "queued-%ld", load->round);
  if (!granted(talk_ask(talk, "MULTI"), "+OK")) return;
  granted(talk_ask(talk, "SET %s @300", key), "+QUEUED");
  granted(talk_ask(talk, "CLAIM %s-claim", key), "+QUEUED");
  granted(talk_ask(talk, "GET %s", key), "+QUEUED");
  const char *reply = talk_ask(talk, "EXEC");
  if (talk_refused(reply) || begins(reply, "-EXECABORT")) return;
  if (begins(reply, "+OK")) learn(key, SET, 300);
}

/* ---- messages ---- */

static void step_pubsub(struct load *load) {
  struct talk *listener = open_talk(load, 0), *speaker = open_talk(load, 1);
  long round = load->round;
  if (!granted(talk_ask(listener, "SUBSCRIBE channel-%ld", round), "subscribe ")) return;
  if (!granted(talk_ask(listener, "PSUBSCRIBE chan*-%ld", round), "psubscribe ")) return;
  if (!granted(talk_ask(listener, "SUBSCRIBE __idem__:told-%ld", round), "subscribe ")) return;
  const char *reply = talk_ask(speaker, "PUBLISH channel-%ld @2000", round);
  if (talk_refused(reply)) return;
  if (strcmp(reply, ":0") == 0) { /* the subscriber was closed */
    while (talk_hear(listener) != NULL) continue;
    return;
  }
  CHECK(strcmp(reply, ":2") == 0, "'%s' for PUBLISH", reply);
  if (!granted(talk_hear(listener), "message channel-")) return;
  if (!granted(talk_hear(listener), "pmessage chan*")) return;
  char key[KEY_BYTES];
  snprintf(key, sizeof key, "told-%ld", round);
  long long token = claim(speaker, key, "");
  if (token == 0) return;
  learn(key, TAKEN, 0);
  if (!granted(talk_ask(speaker, "STORE %s %lld @200", key, token), ":")) return;
  learn(key, DONE, 200);
  granted(talk_hear(listener), "message __idem__:told-");
}

static void step_channels(struct load *load) {
  struct talk *talk = open_talk(load, 0);
  granted(talk_ask(talk, "HELLO 3"), "server ");
  for (unsigned i = 0; i < 20; i++) talk_say(talk, "SUBSCRIBE many-%ld-%u", load->round, i);
  for (unsigned i = 0; i < 20; i++) {
    if (!granted(talk_hear(talk), "subscribe ")) return;
  }
  granted(talk_ask(talk, "PING"), "+PONG");
}

static void step_monitor(struct load *load) {
  struct talk *watcher = open_talk(load, 0), *talk = open_talk(load, 1);
  if (!granted(talk_ask(watcher, "MONITOR"), "+OK")) return;
  if (!granted(talk_ask(talk, "ECHO @100"), "x")) return;
  granted(talk_hear(watcher), "+");
}

/* ---- connections ---- */

static void step_names(struct load *load) {
  struct talk *talk = open_talk(load, 0);
  granted(talk_ask(talk, "CLIENT SETNAME name-%ld", load->round), "+OK");
  granted(talk_ask(talk, "HELLO 3 SETNAME other-%ld", load->round), "server ");
  granted(talk_ask(talk, "CLIENT SETINFO LIB-NAME load"), "+OK");
  struct talk *unix_talk = &talks[1];
  talk_open(unix_talk, 0, load->path);
  granted(talk_ask(unix_talk, "PING"), "+PONG");
}

static void step_silence(struct load *load) {
  struct talk *talk = open_talk(load, 0);
  talk_say(talk, "CLIENT REPLY OFF");
  talk_say(talk, "ECHO @%d", SILENT_BYTES);
  talk_say(talk, "ECHO @%d", SILENT_BYTES);
  granted(talk_ask(talk, "CLIENT REPLY ON"), "+OK");
  granted(talk_ask(talk, "ECHO @%d", SILENT_BYTES), "x");
}

static void step_pieces(struct load *load) {
  struct talk *talk = open_talk(load, 0), *other = open_talk(load, 1);
  talk_send(talk, "*2\r\n$4\r\nECHO\r\n$5\r\nhe");
  talk_ask(other, "PING");
  talk_send(talk, "llo\r\nSET \"quoted key\" 'a value'\r\n");
  if (granted(talk_hear(talk), "hello")) granted(talk_hear(talk), "+OK");
}

static void step_crowd(struct load *load) {
  for (unsigned i = 0; i < TALKS; i++) talk_say(open_talk(load, i), "PING");
  for (unsigned i = 0; i < TALKS; i++) granted(talk_hear(&talks[i]), "+PONG");
}

/* ---- the HTTP port ---- */

#define HTTP_BYTES 65536

static int http_connection(int port) {
  struct sockaddr_in address = {.sin_family = AF_INET,
                                .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
                                .sin_port = htons((uint16_t)port)};
  const struct timeval hang = {.tv_sec = TALK_HANG_S};
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  CHECK(fd >= 0, "no socket");
  setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &hang, sizeof hang);
  CHECK(connect(fd, (struct sockaddr *)&address, sizeof address) == 0, "the HTTP port is closed");
  return fd;
}

/* All of the answer, as far as it comes. */
static size_t http_read(int fd, char answer[HTTP_BYTES]) {
  size_t len = 0;
  for (ssize_t more = 1; more > 0; len += (size_t)more) {
    more = recv(fd, answer + len, HTTP_BYTES - 1 - len, 0);
    if (more < 0) CHECK(errno == ECONNRESET, "no answer, and no end: %s", strerror(errno));
    if (more < 0) break;
  }
  answer[len] = '\0';
  return len;
}

/* It is whole, or the connection is closed. */
static void ask_http(const struct load *load, const char *path) {
  static char answer[HTTP_BYTES];
  char request[128];
  int fd = http_connection(load->http_port);
  snprintf(request, sizeof request,
           "GET %s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", path);
  if (send(fd, request, strlen(request), MSG_NOSIGNAL) > 0 && http_read(fd, answer) > 0) {
    CHECK(begins(answer, "HTTP/1.1 200 ") || begins(answer, "HTTP/1.1 5"), "'%.40s' for %s", answer,
          path);
    CHECK(strstr(answer, "\r\n\r\n") != NULL, "half an answer for %s", path);
  }
  close(fd);
}

static void step_http(struct load *load) {
  static const char *const paths[] = {"/", "/claims.json?state=held", "/metrics", "/healthz",
                                      "/readyz"};
  for (size_t i = 0; i < sizeof paths / sizeof paths[0]; i++) ask_http(load, paths[i]);
}

/* ---- administration ---- */

/* INFO is complete, or refused. */
static void check_info(struct load *load, struct talk *talk) {
  if (talk_refused(talk_ask(talk, INFO))) return;
  CHECK(talk->lines == load->info_lines, "INFO with %u lines of %u", talk->lines, load->info_lines);
}

static void step_server(struct load *load) {
  static const char *const asks[] = {
      "INFO everything",
      "CLIENT LIST",
      "CLIENT INFO",
      "COMMAND DOCS",
      "CONFIG GET *",
      "CONFIG SET ttl 24h slowlog-max-len 100",
      "CONFIG REWRITE",
      "SLOWLOG GET",
      "PUBSUB CHANNELS",
      "MEMORY USAGE counter",
      "OBJECT ENCODING counter",
  };
  struct talk *talk = open_talk(load, 0);
  check_info(load, talk);
  const char *refused = talk_ask(talk, "CONFIG SET requirepass secret ttl never");
  CHECK(refused == NULL || refused[0] == '-', "'%s' for a wrong option", refused);
  for (size_t i = 0; i < sizeof asks / sizeof asks[0]; i++) {
    const char *reply = talk_ask(talk, "%s", asks[i]);
    bool error = !talk_refused(reply) && reply[0] == '-';
    CHECK(!error, "'%s' for %s", reply, asks[i]);
  }
}

void load_round(struct load *load) {
  static void (*const steps[])(struct load *) = {
      step_claims, step_waiting,  step_pipeline, step_strings, step_transaction,
      step_pubsub, step_channels, step_monitor,  step_names,   step_silence,
      step_pieces, step_crowd,    step_server,   step_http,
  };
  for (size_t i = 0; i < sizeof steps / sizeof steps[0]; i++) {
    steps[i](load);
    close_talks();
  }
  load->round++;
}

/* ---- TLS ---- */

static void speak_tls(struct load *load, struct talk *talk) {
  char key[KEY_BYTES];
  snprintf(key, sizeof key, "tls-%ld", load->round);
  if (granted(talk_ask(talk, "SET %s @%d", key, RECEIVED_BYTES), "+OK")) {
    learn(key, SET, RECEIVED_BYTES);
    granted(talk_ask(talk, "GET %s", key), "x");
  }
  run_once(load, talk, "tls-claim", LARGE_BYTES);
}

void load_tls_round(struct load *load) {
  for (unsigned i = 0; i < 3; i++) {
    load->round++;
    if (talk_open_tls(&talks[i], load->tls_port)) speak_tls(load, &talks[i]);
  }
  granted(talk_ask(open_talk(load, 3), "PING"), "+PONG"); /* nobody else is drawn in */
  close_talks();
}
