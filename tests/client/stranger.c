/* stranger.c - see stranger.h. */
#include "tests/client/stranger.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/client/harness.h"

#define CONNECTIONS 64
#define INPUT_BYTES 65536

struct guest {
  int fd; /* -1: gone */
  size_t len;
  char input[INPUT_BYTES];
};

struct stranger {
  pthread_t thread;
  int listener, port;
  int stop[2];
  stranger_fn *answer;
  void *context;
  pthread_mutex_t lock;
  /* Under the lock. */
  struct guest *guests[CONNECTIONS];
  int count, commands;
};

/* One argument's length line at *at ("$5\r\n"), or the array's ("*3\r\n"). -1: not all there. */
static long take_length(char **at, const char *end) {
  char *line_end = memmem(*at, (size_t)(end - *at), "\r\n", 2);
  if (line_end == NULL) return -1;
  long length = strtol(*at + 1, NULL, 10);
  *at = line_end + 2;
  return length;
}

/* Bytes of the first command in the input; 0: it is not complete. Terminates its words. */
static size_t parse(char *input, size_t len, struct command *command) {
  char *at = input, *end = input + len;
  long count = take_length(&at, end);
  if (count < 0) return 0;
  CHECK(count <= STRANGER_ARGUMENTS, "%ld arguments", count);
  char *ends[STRANGER_ARGUMENTS];
  for (long i = 0; i < count; i++) {
    long size = at < end ? take_length(&at, end) : -1;
    if (size < 0 || end - at < size + 2) return 0;
    command->words[i] = at;
    ends[i] = at + size;
    at += size + 2;
  }
  for (long i = 0; i < count; i++) *ends[i] = '\0';
  command->count = (int)count;
  return (size_t)(at - input);
}

static void say(int fd, const char *text) {
  for (size_t left = strlen(text); left > 0;) {
    ssize_t put = send(fd, text, left, MSG_NOSIGNAL);
    if (put <= 0) return;
    text += put;
    left -= (size_t)put;
  }
}

static void hang_up(struct guest *guest) {
  if (guest->fd >= 0) close(guest->fd);
  guest->fd = -1;
}

/* Answers the commands that are complete. Under the lock. */
static void serve(struct stranger *stranger, struct guest *guest, int connection) {
  struct command command;
  size_t used;
  while ((used = parse(guest->input, guest->len, &command)) > 0) {
    command.connection = connection;
    command.number = stranger->commands++;
    const char *text = stranger->answer(&command, stranger->context);
    if (text != NULL && text[0] == '\0') {
      hang_up(guest);
      return;
    }
    if (text != NULL) say(guest->fd, text);
    memmove(guest->input, guest->input + used, guest->len - used);
    guest->len -= used;
  }
}

static void hear(struct stranger *stranger, int connection) {
  struct guest *guest = stranger->guests[connection];
  if (guest->fd < 0) return;
  ssize_t got = recv(guest->fd, guest->input + guest->len, INPUT_BYTES - guest->len, MSG_DONTWAIT);
  if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) return;
  if (got <= 0) {
    hang_up(guest);
    return;
  }
  guest->len += (size_t)got;
  serve(stranger, guest, connection);
}

static void welcome(struct stranger *stranger) {
  int fd = accept4(stranger->listener, NULL, NULL, SOCK_CLOEXEC);
  if (fd < 0) return;
  CHECK(stranger->count < CONNECTIONS, "too many connections");
  struct guest *guest = calloc(1, sizeof *guest);
  CHECK(guest != NULL, "no memory");
  guest->fd = fd;
  stranger->guests[stranger->count++] = guest;
}

static void *run(void *argument) {
  struct stranger *stranger = argument;
  for (;;) {
    struct pollfd wanted[2 + CONNECTIONS] = {{stranger->stop[0], POLLIN, 0},
                                             {stranger->listener, POLLIN, 0}};
    pthread_mutex_lock(&stranger->lock);
    int count = stranger->count;
    for (int i = 0; i < count; i++)
      wanted[2 + i] = (struct pollfd){stranger->guests[i]->fd, POLLIN, 0};
    pthread_mutex_unlock(&stranger->lock);
    if (poll(wanted, (nfds_t)(2 + count), -1) < 0 && errno != EINTR) return NULL;
    if (wanted[0].revents != 0) return NULL;
    pthread_mutex_lock(&stranger->lock);
    for (int i = 0; i < count; i++) {
      if (wanted[2 + i].revents != 0) hear(stranger, i);
    }
    if (wanted[1].revents != 0) welcome(stranger);
    pthread_mutex_unlock(&stranger->lock);
  }
}

struct stranger *stranger_open(stranger_fn *answer, void *context) {
  struct stranger *stranger = calloc(1, sizeof *stranger);
  struct sockaddr_in address = {.sin_family = AF_INET};
  socklen_t len = sizeof address;
  CHECK(stranger != NULL && pipe2(stranger->stop, O_CLOEXEC) == 0, "%s", strerror(errno));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  stranger->answer = answer;
  stranger->context = context;
  stranger->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  CHECK(bind(stranger->listener, (struct sockaddr *)&address, len) == 0, "%s", strerror(errno));
  CHECK(listen(stranger->listener, 128) == 0, "%s", strerror(errno));
  getsockname(stranger->listener, (struct sockaddr *)&address, &len);
  stranger->port = ntohs(address.sin_port);
  pthread_mutex_init(&stranger->lock, NULL);
  CHECK(pthread_create(&stranger->thread, NULL, run, stranger) == 0, "no thread");
  return stranger;
}

int stranger_port(const struct stranger *stranger) { return stranger->port; }

void stranger_say(struct stranger *stranger, int connection, const char *text) {
  pthread_mutex_lock(&stranger->lock);
  CHECK(connection < stranger->count, "no connection %d", connection);
  if (stranger->guests[connection]->fd >= 0) say(stranger->guests[connection]->fd, text);
  pthread_mutex_unlock(&stranger->lock);
}

int stranger_commands(struct stranger *stranger) {
  pthread_mutex_lock(&stranger->lock);
  int commands = stranger->commands;
  pthread_mutex_unlock(&stranger->lock);
  return commands;
}

int stranger_connections(struct stranger *stranger) {
  pthread_mutex_lock(&stranger->lock);
  int count = stranger->count;
  pthread_mutex_unlock(&stranger->lock);
  return count;
}

void stranger_close(struct stranger *stranger) {
  CHECK(write(stranger->stop[1], "x", 1) == 1, "%s", strerror(errno));
  pthread_join(stranger->thread, NULL);
  for (int i = 0; i < stranger->count; i++) {
    hang_up(stranger->guests[i]);
    free(stranger->guests[i]);
  }
  close(stranger->listener);
  close(stranger->stop[0]);
  close(stranger->stop[1]);
  pthread_mutex_destroy(&stranger->lock);
  free(stranger);
}
