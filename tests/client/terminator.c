/* terminator.c - see terminator.h. */
#include "tests/client/terminator.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/client/harness.h"

#define GUESTS 128
#define RECORD_BYTES 16384

struct guest {
  int outside, inside; /* -1: gone */
  SSL *ssl;
  bool ready;
  enum terminator_manner manner;
};

struct terminator {
  pthread_t thread;
  int listener, port, server_port;
  int stop[2];
  pthread_mutex_t lock;
  /* Under the lock. */
  SSL_CTX *context;
  enum terminator_manner manner;
  size_t record_bytes;
  struct guest guests[GUESTS];
  int count, accepted, closed, resumed;
};

static SSL_CTX *create_context(const struct terminator_options *options) {
  SSL_CTX *context = SSL_CTX_new(TLS_server_method());
  CHECK(context != NULL, "no context");
  if (options->cert != NULL) {
    CHECK(SSL_CTX_use_certificate_chain_file(context, options->cert) == 1 &&
              SSL_CTX_use_PrivateKey_file(context, options->cert, SSL_FILETYPE_PEM) == 1,
          "%s", options->cert);
  }
  if (options->version_max != 0) SSL_CTX_set_max_proto_version(context, options->version_max);
  if (options->client_ca != NULL) {
    CHECK(SSL_CTX_load_verify_file(context, options->client_ca) == 1, "%s", options->client_ca);
    SSL_CTX_set_verify(context, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
    SSL_CTX_set_session_id_context(context, (const unsigned char *)"t", 1);
  }
  return context;
}

/* Session tickets are small and come right before the first reply, which must not wait for their
 * acknowledgement. */
static void without_delay(int fd) {
  const int on = 1;
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
}

static int connect_inside(int port) {
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  without_delay(fd);
  if (connect(fd, (struct sockaddr *)&address, sizeof address) == 0) return fd;
  close(fd);
  return -1;
}

static void leave(struct guest *guest) {
  if (guest->outside >= 0) close(guest->outside);
  if (guest->inside >= 0) close(guest->inside);
  SSL_free(guest->ssl);
  *guest = (struct guest){.outside = -1, .inside = -1};
}

static void welcome(struct terminator *terminator) {
  int fd = accept4(terminator->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
  if (fd < 0) return;
  without_delay(fd);
  terminator->accepted++;
  int place = 0;
  while (place < terminator->count && terminator->guests[place].outside >= 0) place++;
  CHECK(place < GUESTS, "too many connections");
  if (place == terminator->count) terminator->count++;
  struct guest *guest = &terminator->guests[place];
  *guest = (struct guest){.outside = fd, .inside = -1, .manner = terminator->manner};
  if (guest->manner != TERMINATOR_SERVES) return;
  guest->ssl = SSL_new(terminator->context);
  CHECK(guest->ssl != NULL, "no memory");
  SSL_set_fd(guest->ssl, fd);
  SSL_set_accept_state(guest->ssl);
}

/* False: the guest is gone. */
static bool write_outside(struct guest *guest, const char *data, size_t len) {
  while (len > 0) {
    size_t done = 0;
    if (SSL_write_ex(guest->ssl, data, len, &done) != 1) {
      if (SSL_get_error(guest->ssl, 0) != SSL_ERROR_WANT_WRITE) return false;
      struct pollfd room = {.fd = guest->outside, .events = POLLOUT};
      if (poll(&room, 1, HANG_MS) <= 0) return false;
    }
    data += done;
    len -= done;
  }
  return true;
}

static bool write_inside(const struct guest *guest, const char *data, size_t len) {
  while (len > 0) {
    ssize_t put = send(guest->inside, data, len, MSG_NOSIGNAL);
    if (put <= 0) return false;
    data += put;
    len -= (size_t)put;
  }
  return true;
}

/* From the client to the server. */
static bool pass_in(struct terminator *terminator, struct guest *guest) {
  char data[16384];
  for (;;) {
    size_t got;
    if (SSL_read_ex(guest->ssl, data, sizeof data, &got) == 1) {
      if (!write_inside(guest, data, got)) return false;
      continue;
    }
    int why = SSL_get_error(guest->ssl, 0);
    if (why == SSL_ERROR_ZERO_RETURN) terminator->closed++;
    return why == SSL_ERROR_WANT_READ;
  }
}

/* From the server to the client. */
static bool pass_out(const struct terminator *terminator, struct guest *guest) {
  char data[RECORD_BYTES];
  ssize_t got = recv(guest->inside, data, terminator->record_bytes, MSG_DONTWAIT);
  if (got > 0) return write_outside(guest, data, (size_t)got);
  if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) return true;
  (void)SSL_shutdown(guest->ssl);
  return false;
}

/* False: it goes on no further. */
static bool serve(struct terminator *terminator, struct guest *guest) {
  if (!guest->ready) {
    int code = SSL_accept(guest->ssl);
    if (code != 1) {
      int why = SSL_get_error(guest->ssl, code);
      return why == SSL_ERROR_WANT_READ || why == SSL_ERROR_WANT_WRITE;
    }
    guest->ready = true;
    if (SSL_session_reused(guest->ssl)) terminator->resumed++;
    guest->inside = connect_inside(terminator->server_port);
    if (guest->inside < 0) return false;
  }
  return pass_in(terminator, guest) && pass_out(terminator, guest);
}

static void hear(struct terminator *terminator, struct guest *guest) {
  char data[4096];
  if (guest->outside < 0) return;
  ERR_clear_error();
  if (guest->manner == TERMINATOR_SERVES) {
    if (!serve(terminator, guest)) leave(guest);
    return;
  }
  ssize_t got = recv(guest->outside, data, sizeof data, MSG_DONTWAIT);
  if (got == 0) leave(guest);
  if (got <= 0 || guest->manner == TERMINATOR_STALLS) return;
  if (guest->manner == TERMINATOR_PLAIN)
    (void)send(guest->outside, "-ERR what?\r\n", 12, MSG_NOSIGNAL);
  leave(guest);
}

static int gather(struct terminator *terminator, struct pollfd *wanted) {
  int count = 0;
  wanted[count++] = (struct pollfd){terminator->stop[0], POLLIN, 0};
  wanted[count++] = (struct pollfd){terminator->listener, POLLIN, 0};
  for (int i = 0; i < terminator->count; i++) {
    wanted[count++] = (struct pollfd){terminator->guests[i].outside, POLLIN, 0};
    wanted[count++] = (struct pollfd){terminator->guests[i].inside, POLLIN, 0};
  }
  return count;
}

static void *run(void *argument) {
  struct terminator *terminator = argument;
  sigset_t all;
  sigfillset(&all);
  pthread_sigmask(SIG_BLOCK, &all, NULL); /* OpenSSL writes without MSG_NOSIGNAL */
  for (;;) {
    struct pollfd wanted[2 + 2 * GUESTS];
    pthread_mutex_lock(&terminator->lock);
    int count = gather(terminator, wanted);
    pthread_mutex_unlock(&terminator->lock);
    if (poll(wanted, (nfds_t)count, -1) < 0 && errno != EINTR) return NULL;
    if (wanted[0].revents != 0) return NULL;
    pthread_mutex_lock(&terminator->lock);
    for (int i = 0; 2 + 2 * i < count; i++) {
      if (wanted[2 + 2 * i].revents != 0 || wanted[3 + 2 * i].revents != 0)
        hear(terminator, &terminator->guests[i]);
    }
    if (wanted[1].revents != 0) welcome(terminator);
    pthread_mutex_unlock(&terminator->lock);
  }
}

void terminator_set(struct terminator *terminator, const struct terminator_options *options) {
  SSL_CTX *context = create_context(options);
  pthread_mutex_lock(&terminator->lock);
  SSL_CTX_free(terminator->context);
  terminator->context = context;
  terminator->manner = options->manner;
  terminator->record_bytes = options->record_bytes != 0 ? options->record_bytes : RECORD_BYTES;
  pthread_mutex_unlock(&terminator->lock);
}

struct terminator *terminator_open(int server_port, const struct terminator_options *options) {
  struct terminator *terminator = calloc(1, sizeof *terminator);
  struct sockaddr_in address = {.sin_family = AF_INET};
  socklen_t len = sizeof address;
  CHECK(terminator != NULL && pipe2(terminator->stop, O_CLOEXEC) == 0, "%s", strerror(errno));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  terminator->server_port = server_port;
  terminator->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  CHECK(bind(terminator->listener, (struct sockaddr *)&address, len) == 0, "%s", strerror(errno));
  CHECK(listen(terminator->listener, 128) == 0, "%s", strerror(errno));
  getsockname(terminator->listener, (struct sockaddr *)&address, &len);
  terminator->port = ntohs(address.sin_port);
  pthread_mutex_init(&terminator->lock, NULL);
  terminator_set(terminator, options);
  CHECK(pthread_create(&terminator->thread, NULL, run, terminator) == 0, "no thread");
  return terminator;
}

int terminator_port(const struct terminator *terminator) { return terminator->port; }

void terminator_end_all(struct terminator *terminator, enum terminator_end how) {
  pthread_mutex_lock(&terminator->lock);
  for (int i = 0; i < terminator->count; i++) {
    struct guest *guest = &terminator->guests[i];
    if (guest->outside < 0) continue;
    if (how == TERMINATOR_CLOSES && guest->ssl != NULL) (void)SSL_shutdown(guest->ssl);
    shutdown(guest->outside, SHUT_RDWR); /* the thread may be polling it: it closes it */
  }
  pthread_mutex_unlock(&terminator->lock);
}

void terminator_say(struct terminator *terminator, const char *text) {
  pthread_mutex_lock(&terminator->lock);
  for (int i = 0; i < terminator->count; i++) {
    struct guest *guest = &terminator->guests[i];
    if (guest->ready) CHECK(write_outside(guest, text, strlen(text)), "not said");
  }
  pthread_mutex_unlock(&terminator->lock);
}

static int read_locked(struct terminator *terminator, const int *number) {
  pthread_mutex_lock(&terminator->lock);
  int value = *number;
  pthread_mutex_unlock(&terminator->lock);
  return value;
}

int terminator_connections(struct terminator *terminator) {
  return read_locked(terminator, &terminator->accepted);
}

int terminator_resumed(struct terminator *terminator) {
  return read_locked(terminator, &terminator->resumed);
}

int terminator_closed(struct terminator *terminator) {
  return read_locked(terminator, &terminator->closed);
}

void terminator_close(struct terminator *terminator) {
  CHECK(write(terminator->stop[1], "x", 1) == 1, "%s", strerror(errno));
  pthread_join(terminator->thread, NULL);
  for (int i = 0; i < terminator->count; i++) leave(&terminator->guests[i]);
  SSL_CTX_free(terminator->context);
  close(terminator->listener);
  close(terminator->stop[0]);
  close(terminator->stop[1]);
  pthread_mutex_destroy(&terminator->lock);
  free(terminator);
}
