/* proxy_header.c - see proxy_header.h. */
#include "server/net/proxy_header.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <string.h>

#define SIGNATURE "\r\n\r\n\0\r\nQUIT\n"
#define SIGNATURE_BYTES (sizeof SIGNATURE - 1)
#define TEXT "PROXY "
#define TEXT_BYTES (sizeof TEXT - 1)

#define VERSION_2 0x20u
#define COMMAND_LOCAL 0x20u
#define COMMAND_PROXY 0x21u
#define FAMILY_UNKNOWN 0x00u
#define FAMILY_TCP4 0x11u
#define FAMILY_TCP6 0x21u
#define FAMILY_UNIX 0x31u
#define TCP4_BYTES 12u /* both addresses, then both ports */
#define TCP6_BYTES 36u
#define UNIX_BYTES 216u

_Static_assert(SIGNATURE_BYTES + 4 == PROXY_HEADER_FIXED, "the fixed part");

static size_t least(size_t a, size_t b) { return a < b ? a : b; }

static enum proxy_header_verdict look_at_beginning(struct span bytes) {
  if (memcmp(bytes.data, SIGNATURE, least(bytes.len, SIGNATURE_BYTES)) == 0)
    return PROXY_HEADER_MORE;
  bool text = memcmp(bytes.data, TEXT, least(bytes.len, TEXT_BYTES)) == 0;
  if (!text) return PROXY_HEADER_ALIEN;
  return bytes.len < TEXT_BYTES ? PROXY_HEADER_MORE : PROXY_HEADER_TEXT;
}

static void read_tcp4(const char *at, struct proxy_header *header) {
  struct sockaddr_in *peer = (void *)&header->peer, *local = (void *)&header->local;
  peer->sin_family = local->sin_family = AF_INET;
  memcpy(&peer->sin_addr, at, 4);
  memcpy(&local->sin_addr, at + 4, 4);
  memcpy(&peer->sin_port, at + 8, 2);
  memcpy(&local->sin_port, at + 10, 2);
}

static void read_tcp6(const char *at, struct proxy_header *header) {
  struct sockaddr_in6 *peer = (void *)&header->peer, *local = (void *)&header->local;
  peer->sin6_family = local->sin6_family = AF_INET6;
  memcpy(&peer->sin6_addr, at, 16);
  memcpy(&local->sin6_addr, at + 16, 16);
  memcpy(&peer->sin6_port, at + 32, 2);
  memcpy(&local->sin6_port, at + 34, 2);
}

struct family {
  unsigned char code;
  size_t bytes;
  void (*read)(const char *at, struct proxy_header *header); /* NULL: it has no IP address */
};

/* NULL: of a family that is not known, or is none of a connection. */
static const struct family *family_of(unsigned char code) {
  static const struct family families[] = {
      {FAMILY_UNKNOWN, 0, NULL},
      {FAMILY_TCP4, TCP4_BYTES, read_tcp4},
      {FAMILY_TCP6, TCP6_BYTES, read_tcp6},
      {FAMILY_UNIX, UNIX_BYTES, NULL},
  };
  for (size_t i = 0; i < sizeof families / sizeof families[0]; i++)
    if (families[i].code == code) return &families[i];
  return NULL;
}

/* A balancer that speaks for itself (LOCAL) may say any family; it is not looked at. */
static enum proxy_header_verdict read_whole(struct span bytes, struct proxy_header *header) {
  unsigned char command = (unsigned char)bytes.data[12];
  if (command == COMMAND_LOCAL) return PROXY_HEADER_WHOLE;
  const struct family *family = family_of((unsigned char)bytes.data[13]);
  if (command != COMMAND_PROXY || family == NULL) return PROXY_HEADER_MALFORMED;
  if (header->bytes < PROXY_HEADER_FIXED + family->bytes) return PROXY_HEADER_MALFORMED;
  header->addressed = family->read != NULL;
  if (header->addressed) family->read(bytes.data + PROXY_HEADER_FIXED, header);
  return PROXY_HEADER_WHOLE;
}

enum proxy_header_verdict proxy_header_read(struct span bytes, struct proxy_header *header) {
  *header = (struct proxy_header){.bytes = PROXY_HEADER_FIXED};
  enum proxy_header_verdict verdict = look_at_beginning(bytes);
  if (verdict != PROXY_HEADER_MORE || bytes.len < PROXY_HEADER_FIXED) return verdict;
  const unsigned char *fixed = (const unsigned char *)bytes.data;
  if ((fixed[12] & 0xf0u) != VERSION_2) return PROXY_HEADER_MALFORMED;
  header->bytes += (size_t)fixed[14] << 8 | fixed[15];
  if (header->bytes > PROXY_HEADER_BYTES) return PROXY_HEADER_LONG;
  return bytes.len < header->bytes ? PROXY_HEADER_MORE : read_whole(bytes, header);
}

struct span proxy_header_local(void) {
  return SPAN_LITERAL(SIGNATURE "\x20\0\0\0");
}

const char *proxy_header_reason(enum proxy_header_verdict verdict) {
  static const char *const reasons[] = {
      [PROXY_HEADER_MORE] = "the PROXY header did not arrive in time",
      [PROXY_HEADER_WHOLE] = "a PROXY header",
      [PROXY_HEADER_ALIEN] = "from this address a PROXY header of version 2 comes first",
      [PROXY_HEADER_TEXT] = "the PROXY header has version 1, version 2 is needed",
      [PROXY_HEADER_MALFORMED] = "the PROXY header is malformed",
      [PROXY_HEADER_LONG] = "the PROXY header is too long",
  };
  return reasons[verdict];
}
