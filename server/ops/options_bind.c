/* options_bind.c - see options_bind.h. */
#include "server/ops/options_bind.h"

#include <arpa/inet.h>
#include <netinet/in.h>

static bool is_blank(char c) { return c == ' ' || c == '\t'; }

bool options_bind_next(const char **cursor, struct span *address) {
  const char *p = *cursor;
  while (is_blank(*p)) p++;
  const char *start = p;
  while (*p != '\0' && !is_blank(*p)) p++;
  *cursor = p;
  if (p == start) return false;
  if (*start == '-') start++;
  *address = (struct span){start, (size_t)(p - start)};
  return true;
}

/* Family of a numeric address, 0 for anything else; `bytes` takes the larger of the two. */
static int address_parse(struct span address, struct in6_addr *bytes) {
  char text[INET6_ADDRSTRLEN];
  if (address.len >= sizeof(text)) return 0;
  memcpy(text, address.data, address.len);
  text[address.len] = '\0';
  if (inet_pton(AF_INET, text, bytes) == 1) return AF_INET;
  return inet_pton(AF_INET6, text, bytes) == 1 ? AF_INET6 : 0;
}

bool options_bind_is_loopback(struct span address) {
  struct in6_addr bytes;
  switch (address_parse(address, &bytes)) {
    case AF_INET: return bytes.s6_addr[0] == 127;
    case AF_INET6:
      return IN6_IS_ADDR_LOOPBACK(&bytes) ||
             (IN6_IS_ADDR_V4MAPPED(&bytes) && bytes.s6_addr[12] == 127);
    default: return false; /* "*" and "::*" */
  }
}

bool options_bind_check(const char *name, const char *list, char error[REFUSAL_BYTES]) {
  char shown[REFUSAL_SHOWN_BYTES];
  struct span address;
  struct in6_addr bytes;
  size_t count = 0;
  while (options_bind_next(&list, &address)) {
    if (++count > OPTIONS_BIND_MAX)
      return refusal_write(error, "%s has more than %d addresses", name, OPTIONS_BIND_MAX);
    if (span_is(address, "*") || span_is(address, "::*") || address_parse(address, &bytes) != 0)
      continue;
    return refusal_write(
        error,
        "bad address '%s' for %s: expected numeric IPv4 or IPv6 addresses (127.0.0.1, ::1), "
        "* or ::*; names are not looked up",
        refusal_show(address, shown), name);
  }
  return true;
}

/* One space between addresses, none around them: a list then fits a line of the file unquoted. */
void options_bind_squeeze(char *list) {
  char *end = list;
  for (const char *p = list; *p != '\0'; p++) {
    if (!is_blank(*p)) {
      if (p > list && is_blank(p[-1]) && end > list) *end++ = ' ';
      *end++ = *p;
    }
  }
  *end = '\0';
}
