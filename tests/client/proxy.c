/* proxy.c - see proxy.h. */
#include "tests/client/proxy.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/client/harness.h"

#define PAIRS 64
#define CHUNK 16384

struct pair {
  int fd[2];        /* PROXY_REQUEST: from the client, PROXY_REPLY: from the server */
  size_t passed[2]; /* since the plan was armed */
  int epoch;        /* of the plan that `passed` counts for */
};

struct proxy {
  pthread_t thread;
  int listener, port, server_port;
  int stop[2];
  pthread_mutex_t lock;
  /* Under the lock. */
  struct proxy_plan plan;
  int epoch, cuts;
  bool hold, holding; /* as told, and as the thread does */
  size_t passed[2];
  /* The thread's own. */
  struct pair pairs[PAIRS];
  int count;
};

static int dial(int port) {
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1;
  if (connect(fd, (struct sockaddr *)&address, sizeof address) != 0) {
    close(fd);
    return -1;
  }
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
  return fd;
}

static void hang_up(int fd, bool reset) {
  struct linger linger = {.l_onoff = 1, .l_linger = 0};
  if (reset) setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof linger);
  close(fd);
}

static void drop(struct proxy *proxy, int index, bool reset) {
  hang_up(proxy->pairs[index].fd[0], reset);
  hang_up(proxy->pairs[index].fd[1], reset);
  proxy->pairs[index] = proxy->pairs[--proxy->count];
}

static void welcome(struct proxy *proxy) {
  int client = accept4(proxy->listener, NULL, NULL, SOCK_CLOEXEC), one = 1;
  if (client < 0) return;
  int server = proxy->count < PAIRS ? dial(proxy->server_port) : -1;
  if (server < 0) {
    close(client);
    return;
  }
  setsockopt(client, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
  proxy->pairs[proxy->count++] = (struct pair){{client, server}, {0, 0}, -1};
}

/* How many of `len` bytes may pass, and whether the pair is cut behind them. Under the lock. */
static size_t allow(struct proxy *proxy, struct pair *pair, int side, size_t len, bool *cut) {
  if (pair->epoch != proxy->epoch) {
    pair->epoch = proxy->epoch;
    pair->passed[0] = pair->passed[1] = 0;
  }
  const struct proxy_plan *plan = &proxy->plan;
  *cut = false;
  if (plan->times > proxy->cuts && (int)plan->side == side &&
      pair->passed[side] + len >= plan->bytes) {
    /* At the last planned byte itself: the other end may never send another one. */
    len = plan->bytes - pair->passed[side];
    *cut = true;
    proxy->cuts++;
  }
  return len;
}

/* Passes what is readable on one side. False: the pair is gone. */
static bool pass(struct proxy *proxy, int index, int side) {
  struct pair *pair = &proxy->pairs[index];
  char bytes[CHUNK];
  ssize_t got = recv(pair->fd[side], bytes, sizeof bytes, 0);
  if (got <= 0) {
    drop(proxy, index, got < 0);
    return false;
  }
  pthread_mutex_lock(&proxy->lock);
  bool cut = false;
  size_t len = allow(proxy, pair, side, (size_t)got, &cut);
  bool reset = proxy->plan.reset;
  ssize_t sent = len > 0 ? send(pair->fd[1 - side], bytes, len, MSG_NOSIGNAL) : 0;
  pair->passed[side] += len;
  proxy->passed[side] += len;
  pthread_mutex_unlock(&proxy->lock);
  if (!cut && sent == (ssize_t)len) return true;
  /* A reset would take back bytes that the peer has not read yet; they count as passed, so let them
   * arrive. */
  if (cut && reset && len > 0) {
    shutdown(pair->fd[1 - side], SHUT_WR);
    reset = false;
  }
  drop(proxy, index, reset);
  return false;
}

/* The pipe says 'x': stop, or 'h': look at `hold` again. */
static bool told_to_stop(struct proxy *proxy) {
  char word = 0;
  CHECK(read(proxy->stop[0], &word, 1) == 1, "%s", strerror(errno));
  return word == 'x';
}

static void *run(void *argument) {
  struct proxy *proxy = argument;
  for (;;) {
    struct pollfd wanted[2 + 2 * PAIRS] = {{proxy->stop[0], POLLIN, 0},
                                           {proxy->listener, POLLIN, 0}};
    int count = proxy->count;
    pthread_mutex_lock(&proxy->lock);
    bool hold = proxy->holding = proxy->hold;
    pthread_mutex_unlock(&proxy->lock);
    for (int i = 0; i < 2 * count; i++) {
      bool held = hold && i % 2 == PROXY_REPLY;
      wanted[2 + i] = (struct pollfd){held ? -1 : proxy->pairs[i / 2].fd[i % 2], POLLIN, 0};
    }
    if (poll(wanted, (nfds_t)(2 + 2 * count), -1) < 0 && errno != EINTR) return NULL;
    if (wanted[0].revents != 0 && told_to_stop(proxy)) return NULL;
    /* From the end: dropping a pair moves the last one into its place. */
    for (int i = count - 1; i >= 0; i--) {
      if (wanted[2 + 2 * i].revents != 0 && !pass(proxy, i, PROXY_REQUEST)) continue;
      if (wanted[3 + 2 * i].revents != 0) pass(proxy, i, PROXY_REPLY);
    }
    if (wanted[1].revents != 0) welcome(proxy);
  }
}

struct proxy *proxy_open(int server_port) {
  struct proxy *proxy = calloc(1, sizeof *proxy);
  struct sockaddr_in address = {.sin_family = AF_INET};
  socklen_t len = sizeof address;
  CHECK(proxy != NULL && pipe2(proxy->stop, O_CLOEXEC) == 0, "%s", strerror(errno));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  proxy->server_port = server_port;
  proxy->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  CHECK(bind(proxy->listener, (struct sockaddr *)&address, len) == 0, "%s", strerror(errno));
  CHECK(listen(proxy->listener, 128) == 0, "%s", strerror(errno));
  getsockname(proxy->listener, (struct sockaddr *)&address, &len);
  proxy->port = ntohs(address.sin_port);
  pthread_mutex_init(&proxy->lock, NULL);
  CHECK(pthread_create(&proxy->thread, NULL, run, proxy) == 0, "no thread");
  return proxy;
}

int proxy_port(const struct proxy *proxy) { return proxy->port; }

void proxy_close(struct proxy *proxy) {
  CHECK(write(proxy->stop[1], "x", 1) == 1, "%s", strerror(errno));
  pthread_join(proxy->thread, NULL);
  while (proxy->count > 0) drop(proxy, 0, false);
  close(proxy->listener);
  close(proxy->stop[0]);
  close(proxy->stop[1]);
  pthread_mutex_destroy(&proxy->lock);
  free(proxy);
}

void proxy_arm(struct proxy *proxy, struct proxy_plan plan) {
  pthread_mutex_lock(&proxy->lock);
  proxy->plan = plan;
  proxy->epoch++;
  proxy->cuts = 0;
  proxy->passed[0] = proxy->passed[1] = 0;
  pthread_mutex_unlock(&proxy->lock);
}

void proxy_hold(struct proxy *proxy, bool hold) {
  pthread_mutex_lock(&proxy->lock);
  proxy->hold = hold;
  pthread_mutex_unlock(&proxy->lock);
  CHECK(write(proxy->stop[1], "h", 1) == 1, "%s", strerror(errno));
  for (bool done = false; !done; pause_ms(1)) {
    pthread_mutex_lock(&proxy->lock);
    done = proxy->holding == hold;
    pthread_mutex_unlock(&proxy->lock);
  }
}

size_t proxy_passed(struct proxy *proxy, enum proxy_side side) {
  pthread_mutex_lock(&proxy->lock);
  size_t passed = proxy->passed[side];
  pthread_mutex_unlock(&proxy->lock);
  return passed;
}

int proxy_cuts(struct proxy *proxy) {
  pthread_mutex_lock(&proxy->lock);
  int cuts = proxy->cuts;
  pthread_mutex_unlock(&proxy->lock);
  return cuts;
}
