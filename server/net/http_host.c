/* http_host.c - see http_host.h. */
#include "server/net/http_host.h"

#include <arpa/inet.h>
#include <strings.h>

static bool is_digits(struct span s) {
  for (size_t i = 0; i < s.len; i++) {
    if (s.data[i] < '0' || s.data[i] > '9') return false;
  }
  return s.len <= 5;
}

/* Takes ":PORT" off the end, if it is there: a port may be empty (RFC 3986). False: something else
 * stands there. */
static bool take_port(struct span *host) {
  size_t len = host->len;
  while (len > 0 && host->data[len - 1] != ':' && host->data[len - 1] != ']') len--;
  if (len == 0 || host->data[len - 1] == ']') return len == host->len || len == 0;
  if (!is_digits((struct span){host->data + len, host->len - len})) return false;
  host->len = len - 1;
  return true;
}

static bool is_address(struct span host) {
  char text[INET6_ADDRSTRLEN];
  struct in6_addr address;
  bool v6 = host.len >= 2 && host.data[0] == '[' && host.data[host.len - 1] == ']';
  if (v6) host = (struct span){host.data + 1, host.len - 2};
  if (host.len >= sizeof text || memchr(host.data, '\0', host.len) != NULL) return false;
  memcpy(text, host.data, host.len);
  text[host.len] = '\0';
  return inet_pton(v6 ? AF_INET6 : AF_INET, text, &address) == 1;
}

static bool is_listed(struct span host, const char *names) {
  while (*names != '\0') {
    size_t len = strcspn(names, " ");
    if (len == host.len && len > 0 && strncasecmp(names, host.data, len) == 0) return true;
    names += len;
    names += strspn(names, " ");
  }
  return false;
}

bool http_host_allowed(struct span host, const char *names) {
  if (!take_port(&host) || host.len == 0) return false;
  if (is_address(host) || span_is(host, "localhost")) return true;
  return is_listed(host, names);
}
