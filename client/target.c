/* target.c - see target.h. */
#include "client/target.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "client/userinfo.h"

static enum idem_status invalid(struct idem_error *error, const char *why) {
  snprintf(error->text, sizeof error->text, "the server's URL: %s", why);
  return IDEM_INVALID;
}

static int hex_value(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

/* Resolves %XX in place. A NUL is refused: passwords are C strings here. */
static bool unescape(char *text) {
  char *out = text;
  for (const char *at = text; *at != '\0'; at++) {
    if (*at != '%') {
      *out++ = *at;
      continue;
    }
    int high = hex_value(at[1]), low = high < 0 ? -1 : hex_value(at[2]);
    if (low < 0 || high * 16 + low == 0) return false;
    *out++ = (char)(high * 16 + low);
    at += 2;
  }
  *out = '\0';
  return true;
}

/* Cuts "[[user]:password@]" off the front of *rest. */
static enum idem_status take_userinfo(struct target *target, char **rest, bool local,
                                      struct idem_error *error) {
  const char *at = userinfo_end(*rest, local);
  if (at == NULL) return IDEM_OK;
  size_t len = (size_t)(at - *rest);
  char *user = *rest;
  user[len] = '\0';
  char *colon = strchr(user, ':');
  *rest += len + 1;
  if (colon == NULL)
    return invalid(error, "a user without a password (write :password@ or user:password@)");
  *colon = '\0';
  if (!unescape(user) || !unescape(colon + 1))
    return invalid(error, "a bad % escape in user or password");
  if (*user != '\0') target->user = user;
  target->password = colon + 1;
  return IDEM_OK;
}

/* "fe80::1%25eth0" is "fe80::1%eth0": in a URL the '%' before a zone is written %25 (RFC 6874). */
static void unescape_zone(char *address) {
  char *zone = strstr(address, "%25");
  if (zone != NULL) memmove(zone + 1, zone + 3, strlen(zone + 3) + 1);
}

bool target_port_valid(const char *port) {
  size_t len = strlen(port);
  if (len == 0 || len > 5 || strspn(port, "0123456789") != len) return false;
  long value = strtol(port, NULL, 10);
  return value >= 1 && value <= 65535;
}

bool target_is_numeric(const char *host) {
  unsigned char address[sizeof(struct in6_addr)];
  return inet_pton(AF_INET, host, address) == 1 || inet_pton(AF_INET6, host, address) == 1;
}

/* "host", "host:port", "[v6]", "[v6]:port". */
static enum idem_status take_seed(struct target_seed *seed, char *text, struct idem_error *error) {
  char *port = NULL;
  if (*text == '[') {
    char *end = strchr(text, ']');
    if (end == NULL || (end[1] != '\0' && end[1] != ':'))
      return invalid(error, "a bad address in [ ]");
    if (end[1] == ':') port = end + 2;
    *end = '\0';
    text++;
    unescape_zone(text);
  } else {
    char *colon = strchr(text, ':');
    if (colon != NULL && strchr(colon + 1, ':') != NULL)
      return invalid(error, "write an IPv6 address as [::1]");
    if (colon != NULL) {
      *colon = '\0';
      port = colon + 1;
    }
  }
  if (*text == '\0') return invalid(error, "no host");
  if (port != NULL && !target_port_valid(port))
    return invalid(error, "the port is not a number from 1 to 65535");
  *seed = (struct target_seed){text, port != NULL ? port : TARGET_PORT};
  return IDEM_OK;
}

/* One server or several, with commas, and an optional "/" or "/0" after the last. */
static enum idem_status take_hosts(struct target *target, char *rest, struct idem_error *error) {
  char *slash = strchr(rest, '/');
  if (slash != NULL) {
    if (strcmp(slash, "/") != 0 && strcmp(slash, "/0") != 0)
      return invalid(error, "there is only database 0");
    *slash = '\0';
  }
  for (char *next; rest != NULL; rest = next) {
    next = strchr(rest, ',');
    if (next != NULL) *next++ = '\0';
    if (target->seed_count == TARGET_SEEDS_MAX) return invalid(error, "more than 16 servers");
    enum idem_status status = take_seed(&target->seeds[target->seed_count++], rest, error);
    if (status != IDEM_OK) return status;
  }
  target->host = target->seeds[0].host;
  target->port = target->seeds[0].port;
  return IDEM_OK;
}

static const struct {
  const char *prefix;
  bool tls, local;
} SCHEMES[] = {
    {"redis://", false, false}, {"rediss://", true, false},           {"idem://", false, false},
    {"idems://", true, false},  {USERINFO_LOCAL_SCHEME, false, true},
};

static enum idem_status parse(struct target *target, char *rest, struct idem_error *error) {
  size_t scheme = 0, count = sizeof SCHEMES / sizeof SCHEMES[0];
  while (scheme < count &&
         strncasecmp(rest, SCHEMES[scheme].prefix, strlen(SCHEMES[scheme].prefix)) != 0)
    scheme++;
  if (scheme == count)
    return invalid(error, "it begins with idem://, idems://, redis://, rediss:// or unix://");
  rest += strlen(SCHEMES[scheme].prefix);
  target->tls = SCHEMES[scheme].tls;
  if (strpbrk(rest, "?#") != NULL)
    return invalid(error, "it has no ? and # parts (escape them as %3F and %23)");
  enum idem_status status = take_userinfo(target, &rest, SCHEMES[scheme].local, error);
  if (status != IDEM_OK) return status;
  if (!SCHEMES[scheme].local) return take_hosts(target, rest, error);
  if (*rest != '/' || rest[1] == '\0')
    return invalid(error, "the path of the socket is not absolute");
  if (!unescape(rest)) return invalid(error, "a bad % escape in the path");
  target->path = rest;
  target->seed_count = 1;
  return IDEM_OK;
}

/* What an address takes in the name for messages, beside host and port. */
#define NAMED_BYTES (sizeof ",[]:")

/* "host:port", and of several with commas. */
static void write_name(char *name, size_t size, const struct target *target) {
  size_t len = 0;
  for (unsigned i = 0; i < target->seed_count; i++) {
    const struct target_seed *seed = &target->seeds[i];
    bool v6 = strchr(seed->host, ':') != NULL;
    len += (size_t)snprintf(name + len, size - len, "%s%s%s%s:%s", i > 0 ? "," : "", v6 ? "[" : "",
                            seed->host, v6 ? "]" : "", seed->port);
  }
}

enum idem_status target_parse(struct target *target, const char *url, struct idem_error *error) {
  *target = (struct target){0};
  size_t len = strlen(url);
  if (len > TARGET_URL_LIMIT) return invalid(error, "it is too long");
  /* The parts are cut inside one copy; after it lies the name for messages, which has a port for
   * each host. */
  size_t name_size = len + TARGET_SEEDS_MAX * (NAMED_BYTES + sizeof TARGET_PORT);
  target->memory = malloc(len + 1 + name_size);
  if (target->memory == NULL) return IDEM_NO_MEMORY;
  memcpy(target->memory, url, len + 1);
  char *name = target->memory + len + 1;
  enum idem_status status = parse(target, target->memory, error);
  if (status != IDEM_OK) {
    target_deinit(target);
    return status;
  }
  if (target->path != NULL) {
    snprintf(name, name_size, "%s", target->path);
  } else {
    write_name(name, name_size, target);
  }
  target->name = name;
  return IDEM_OK;
}

void target_deinit(struct target *target) {
  free(target->memory);
  *target = (struct target){0};
}

bool target_of_node(struct target *target, const struct target *whole, const char *host,
                    const char *port) {
  size_t host_size = strlen(host) + 1, port_size = strlen(port) + 1;
  size_t name_size = host_size + port_size + NAMED_BYTES;
  *target = (struct target){.user = whole->user,
                            .password = whole->password,
                            .tls = whole->tls,
                            .seed_count = 1,
                            .memory = malloc(host_size + port_size + name_size)};
  if (target->memory == NULL) return false;
  char *own_port = memcpy(target->memory + host_size, port, port_size);
  char *name = own_port + port_size;
  target->host = memcpy(target->memory, host, host_size);
  target->port = own_port;
  target->seeds[0] = (struct target_seed){target->host, target->port};
  write_name(name, name_size, target);
  target->name = name;
  return true;
}

bool target_of_seed(struct target *target, const struct target *whole, unsigned seed) {
  if (whole->path == NULL)
    return target_of_node(target, whole, whole->seeds[seed].host, whole->seeds[seed].port);
  *target = *whole;
  target->memory = NULL; /* it is the whole one's */
  return true;
}
