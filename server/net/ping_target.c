/* ping_target.c - see ping_target.h. */
#include "server/net/ping_target.h"

#include <stdio.h>
#include <string.h>

static bool refuse(const char *why, char error[REFUSAL_BYTES]) {
  return refusal_write(error, "--ping: %s", why);
}

/* False: it is empty, or does not fit. */
static bool copy(struct span from, char *to, size_t size) {
  if (from.len == 0 || from.len >= size) return false;
  memcpy(to, from.data, from.len);
  to[from.len] = '\0';
  return true;
}

static const char *begins(const char *text, const char *with) {
  size_t len = strlen(with);
  return strncmp(text, with, len) == 0 ? text + len : NULL;
}

/* Takes "user@" off the text. */
static bool take_user(const char **text, struct ping_target *target, char error[REFUSAL_BYTES]) {
  const char *at = strchr(*text, '@');
  if (at == NULL) return true;
  struct span user = {*text, (size_t)(at - *text)};
  if (memchr(user.data, ':', user.len) != NULL)
    return refuse(
        "a URL with a password is refused, since every user of this machine can read a "
        "command line: put it into requirepass-file",
        error);
  if (memchr(user.data, '%', user.len) != NULL || !copy(user, target->user, sizeof target->user))
    return refuse("a user has 1 to 128 bytes, without %", error);
  *text = at + 1;
  return true;
}

/* "host", "host:port", "[v6]:port" */
static bool take_address(const char *text, struct ping_target *target, char error[REFUSAL_BYTES]) {
  struct span host = {text, strcspn(text, ":/")};
  const char *rest = text + host.len;
  if (*text == '[') {
    host = (struct span){text + 1, strcspn(text + 1, "]")};
    rest = text + 1 + host.len;
    if (*rest++ != ']') return refuse("a URL has a [ without its ]", error);
  }
  if (!copy(host, target->host, sizeof target->host))
    return refuse("a URL needs a host: redis://127.0.0.1:4336", error);
  size_t len = strlen(rest);
  if (len > 0 && rest[len - 1] == '/') len--;
  if (len == 0) return true;
  long long port;
  struct span digits = {rest + 1, len - 1};
  if (*rest != ':' || !span_to_i64(digits, &port) || port < 1 || port > 65535)
    return refuse("a URL ends with a port from 1 to 65535", error);
  snprintf(target->port, sizeof target->port, "%d", (int)port);
  return true;
}

static bool set_port(struct ping_target *target, int64_t port, char error[REFUSAL_BYTES]) {
  if (target->port[0] != '\0' || target->kind == PING_UNIX) return true;
  if (port == 0) return refuse("port 0 lets the kernel pick one: name it, --ping URL", error);
  snprintf(target->port, sizeof target->port, "%d", (int)port);
  return true;
}

static int64_t port_of(const struct ping_target *target, const struct options *options) {
  return target->kind == PING_TLS ? options->tls_port : options->port;
}

bool ping_target_of_url(const char *url, const struct options *options, struct ping_target *target,
                        char error[REFUSAL_BYTES]) {
  static const struct {
    const char *begins;
    enum ping_kind kind;
  } schemes[] = {{"redis://", PING_TCP},
                 {"rediss://", PING_TLS},
                 {"idem://", PING_TCP},
                 {"idems://", PING_TLS},
                 {"unix://", PING_UNIX}};
  const char *rest = NULL;
  *target = (struct ping_target){.kind = PING_TCP, .verifies = true};
  for (size_t i = 0; i < sizeof schemes / sizeof schemes[0] && rest == NULL; i++) {
    rest = begins(url, schemes[i].begins);
    if (rest != NULL) target->kind = schemes[i].kind;
  }
  if (rest == NULL) return refuse("a URL begins with redis://, rediss:// or unix://", error);
  if (!take_user(&rest, target, error)) return false;
  if (target->kind != PING_UNIX)
    return take_address(rest, target, error) && set_port(target, port_of(target, options), error);
  if (rest[0] == '/' && copy(span_of(rest), target->host, sizeof target->host)) return true;
  return refuse("a URL of a unix socket has a whole path: unix:///run/idem.sock", error);
}

/* What listens on all addresses is asked on loopback. */
static struct span address_to_ask(struct span address) {
  if (span_equal(address, SPAN_LITERAL("*")) || span_equal(address, SPAN_LITERAL("0.0.0.0")))
    return SPAN_LITERAL("127.0.0.1");
  if (span_equal(address, SPAN_LITERAL("::*")) || span_equal(address, SPAN_LITERAL("::")))
    return SPAN_LITERAL("::1");
  return address;
}

bool ping_target_of_options(const struct options *options, struct ping_target *target,
                            char error[REFUSAL_BYTES]) {
  const char *cursor = options->bind;
  struct span address;
  *target = (struct ping_target){.kind = options_listen_plain(options) ? PING_TCP : PING_TLS,
                                 .own = true};
  if (options->unixsocket[0] != '\0') {
    target->kind = PING_UNIX;
    snprintf(target->host, sizeof target->host, "%s", options->unixsocket);
    return true;
  }
  if (!options_bind_next(&cursor, &address)) return refuse("there is no address to ask", error);
  if (!copy(address_to_ask(address), target->host, sizeof target->host))
    return refuse("the first address of bind is too long", error);
  return set_port(target, port_of(target, options), error);
}
