/* options_networks.c - see options_networks.h. */
#include "server/ops/options_networks.h"

#include <arpa/inet.h>

struct network {
  struct in6_addr address; /* IPv4: mapped */
  unsigned bits;           /* of it that count */
};

#define V4_BITS_BEFORE 96 /* of a mapped address */

static bool is_blank(char c) { return c == ' ' || c == '\t'; }

/* The next word; false: there is none. */
static bool next_word(const char **cursor, struct span *word) {
  const char *p = *cursor;
  while (is_blank(*p)) p++;
  word->data = p;
  while (*p != '\0' && !is_blank(*p)) p++;
  word->len = (size_t)(p - word->data);
  *cursor = p;
  return word->len > 0;
}

static bool parse_address(struct span text, struct network *network, unsigned *before) {
  char address[INET6_ADDRSTRLEN];
  unsigned char *bytes = network->address.s6_addr;
  if (text.len >= sizeof address) return false;
  memcpy(address, text.data, text.len);
  address[text.len] = '\0';
  *before = 0;
  if (inet_pton(AF_INET6, address, bytes) == 1) return true;
  *before = V4_BITS_BEFORE;
  memset(bytes, 0, 10);
  bytes[10] = bytes[11] = 0xff;
  return inet_pton(AF_INET, address, bytes + 12) == 1;
}

/* "10.0.0.0/8"; without bits it is one address. */
static bool parse(struct span word, struct network *network) {
  const char *slash = memchr(word.data, '/', word.len);
  size_t len = slash != NULL ? (size_t)(slash - word.data) : word.len;
  unsigned before;
  long long bits;
  if (!parse_address((struct span){word.data, len}, network, &before)) return false;
  network->bits = 128;
  if (slash == NULL) return true;
  if (!span_to_i64((struct span){slash + 1, word.len - len - 1}, &bits)) return false;
  if (bits < 0 || bits > 128 - (long long)before) return false;
  network->bits = before + (unsigned)bits;
  return true;
}

bool options_networks_check(const char *list, char error[REFUSAL_BYTES]) {
  char shown[REFUSAL_SHOWN_BYTES];
  struct span word;
  struct network network;
  for (unsigned count = 1; next_word(&list, &word); count++) {
    if (count > OPTIONS_NETWORKS_MAX)
      return refusal_write(error, "proxy-protocol has more than %d addresses",
                           OPTIONS_NETWORKS_MAX);
    if (parse(word, &network)) continue;
    return refusal_write(error,
                         "bad address '%s' for proxy-protocol: expected numeric addresses or "
                         "networks (10.0.0.7, 192.168.0.0/16, fd00::/8)",
                         refusal_show(word, shown));
  }
  return true;
}

static bool has(const struct network *network, const struct in6_addr *address) {
  unsigned whole = network->bits / 8, rest = network->bits % 8;
  if (memcmp(network->address.s6_addr, address->s6_addr, whole) != 0) return false;
  if (rest == 0) return true;
  unsigned differ = network->address.s6_addr[whole] ^ address->s6_addr[whole];
  return differ >> (8 - rest) == 0;
}

bool options_networks_have(const char *list, const struct in6_addr *address) {
  struct span word;
  struct network network;
  while (next_word(&list, &word))
    if (parse(word, &network) && has(&network, address)) return true;
  return false;
}
