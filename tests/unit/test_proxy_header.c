/* test_proxy_header.c - PROXY headers of version 2, cut at every byte before a page that cannot be
 * read, and what is none; networks of load balancers. */
#include "server/net/proxy_header.h"

#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include <cmocka.h>

#include "server/net/address.h"
#include "server/ops/options_networks.h"

#define PAGE 4096u
#define BYTES(literal) ((struct span){literal, sizeof literal - 1})
#define SIGNATURE "\r\n\r\n\0\r\nQUIT\n"
#define TCP4 "\x0a\0\0\x07\xc0\xa8\x01\x02\x12\x34\x10\xf0"
#define TCP6 \
  "\xfd\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01\xfd\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x02\x12\x34\x10\xf0"
#define TLV "\x04\0\x03\0\0\0"

static const char *const verdicts[] = {"MORE", "WHOLE", "ALIEN", "TEXT", "MALFORMED", "LONG"};

/* The bytes stand at the end of a page, and the next one is closed. */
static enum proxy_header_verdict read_at_edge(struct span bytes, struct proxy_header *header) {
  char *pages = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  assert_true(pages != MAP_FAILED && bytes.len <= PAGE);
  assert_int_equal(mprotect(pages + PAGE, PAGE, PROT_NONE), 0);
  char *at = pages + PAGE - bytes.len;
  memcpy(at, bytes.data, bytes.len);
  enum proxy_header_verdict verdict = proxy_header_read((struct span){at, bytes.len}, header);
  munmap(pages, 2 * PAGE);
  return verdict;
}

static const struct {
  struct span bytes;
  const char *peer, *local; /* NULL: those of the socket */
} whole[] = {
    {BYTES(SIGNATURE "\x21\x11\0\x0c" TCP4), "10.0.0.7:4660", "192.168.1.2:4336"},
    {BYTES(SIGNATURE "\x21\x21\0\x24" TCP6), "[fd00::1]:4660", "[fd00::2]:4336"},
    {BYTES(SIGNATURE "\x21\x11\0\x12" TCP4 TLV), "10.0.0.7:4660", "192.168.1.2:4336"},
    {BYTES(SIGNATURE "\x20\0\0\0"), NULL, NULL},          /* LOCAL */
    {BYTES(SIGNATURE "\x20\x11\0\x0c" TCP4), NULL, NULL}, /* with addresses that do not count */
    {BYTES(SIGNATURE "\x20\0\0\x06" TLV), NULL, NULL},
    {BYTES(SIGNATURE "\x21\0\0\0"), NULL, NULL}, /* of a family that is not known */
};

static void whole_ones_cut_at_every_byte(void **state) {
  (void)state;
  for (size_t i = 0; i < sizeof whole / sizeof whole[0]; i++) {
    struct proxy_header header;
    char text[SESSION_ADDRESS_BYTES];
    struct span bytes = whole[i].bytes;
    for (size_t len = 0; len < bytes.len; len++) {
      assert_string_equal(verdicts[read_at_edge((struct span){bytes.data, len}, &header)], "MORE");
      size_t known = len < PROXY_HEADER_FIXED ? PROXY_HEADER_FIXED : bytes.len;
      assert_int_equal(header.bytes, known);
    }
    assert_string_equal(verdicts[read_at_edge(bytes, &header)], "WHOLE");
    assert_int_equal(header.bytes, bytes.len);
    assert_int_equal(header.addressed, whole[i].peer != NULL);
    if (whole[i].peer == NULL) continue;
    address_write(&header.peer, text);
    assert_string_equal(text, whole[i].peer);
    address_write(&header.local, text);
    assert_string_equal(text, whole[i].local);
  }
}

static void what_follows_is_the_clients(void **state) {
  (void)state;
  struct proxy_header header;
  assert_string_equal(
      verdicts[proxy_header_read(BYTES(SIGNATURE "\x21\x11\0\x0c" TCP4 "PING\r\n"), &header)],
      "WHOLE");
  assert_int_equal(header.bytes, 28);
}

static void what_is_none(void **state) {
  (void)state;
  static const struct {
    struct span bytes;
    const char *verdict;
  } cases[] = {
      {BYTES("*"), "ALIEN"},
      {BYTES("PING\r\n"), "ALIEN"},
      {BYTES("\r\n\r\n\r\n"), "ALIEN"},
      {BYTES("\r\n\r\n\0\r\nQUIT\r"), "ALIEN"},
      {BYTES("PROXY TCP4 10.0.0.7 10.0.0.1 4660 4336\r\n"), "TEXT"},
      {BYTES("PROX"), "MORE"},
      {BYTES(SIGNATURE "\x11\x11\0\x0c"), "MALFORMED"},      /* version 1 */
      {BYTES(SIGNATURE "\x31\x11\0\x0c"), "MALFORMED"},      /* version 3 */
      {BYTES(SIGNATURE "\x22\x11\0\x0c" TCP4), "MALFORMED"}, /* another command */
      {BYTES(SIGNATURE "\x21\x12\0\x0c" TCP4), "MALFORMED"}, /* UDP */
      {BYTES(SIGNATURE "\x21\x11\0\x04"
                       "\x0a\0\0\x07"),
       "MALFORMED"},
      {BYTES(SIGNATURE "\x21\x21\0\x0c" TCP4), "MALFORMED"}, /* too short for IPv6 */
      {BYTES(SIGNATURE "\x21\x31\0\0"), "MALFORMED"},        /* a unix socket's is longer */
      {BYTES(SIGNATURE "\x21\x11\xff\xff"), "LONG"},
      {BYTES(SIGNATURE "\x21\x11\x07\xf1"), "LONG"}, /* 16 + 2033 */
      {BYTES(SIGNATURE "\x21\x11\x07\xf0"), "MORE"},
  };
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    struct proxy_header header;
    assert_string_equal(verdicts[read_at_edge(cases[i].bytes, &header)], cases[i].verdict);
  }
}

static bool is_in(const char *list, const char *text) {
  struct in6_addr address;
  assert_int_equal(inet_pton(AF_INET6, text, &address), 1);
  return options_networks_have(list, &address);
}

static void networks(void **state) {
  (void)state;
  assert_true(is_in("10.0.0.7", "::ffff:10.0.0.7"));
  assert_false(is_in("10.0.0.7", "::ffff:10.0.0.6"));
  assert_true(is_in("::1 192.168.0.0/16", "::ffff:192.168.255.255"));
  assert_false(is_in("::1 192.168.0.0/16", "::ffff:192.169.0.0"));
  assert_true(is_in("10.0.0.4/30", "::ffff:10.0.0.7"));
  assert_false(is_in("10.0.0.4/30", "::ffff:10.0.0.8"));
  assert_true(is_in("fd00::/8", "fdff::1"));
  assert_false(is_in("fd00::/8", "fe00::1"));
  assert_true(is_in("0.0.0.0/0", "::ffff:1.2.3.4"));
  assert_false(is_in("0.0.0.0/0", "fd00::1"));
  assert_true(is_in("::/0", "::ffff:1.2.3.4"));
  assert_false(is_in("", "::1"));
}

static void what_is_no_network(void **state) {
  (void)state;
  static const char *const bad[] = {"x",         "10.0.0",     "10.0.0.0/33",  "10.0.0.0/-1",
                                    "10.0.0.0/", "fd00::/129", "10.0.0.0/8/8", "/8",
                                    "*",         "10.0.0.7:80"};
  char error[REFUSAL_BYTES];
  for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
    assert_false(options_networks_check(bad[i], error));
    assert_non_null(strstr(error, "for proxy-protocol: expected"));
  }
  assert_true(options_networks_check("10.0.0.7 192.168.0.0/16 fd00::/8 ::1/128", error));
  assert_true(options_networks_check("", error));
  assert_false(options_networks_check(
      "1.1.1.1 1.1.1.1 1.1.1.1 1.1.1.1 1.1.1.1 1.1.1.1 1.1.1.1 1.1.1.1 1.1.1.1 "
      "1.1.1.1 1.1.1.1 1.1.1.1 1.1.1.1 1.1.1.1 1.1.1.1 1.1.1.1 1.1.1.1",
      error));
  assert_string_equal(error, "proxy-protocol has more than 16 addresses");
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(whole_ones_cut_at_every_byte),
      cmocka_unit_test(what_follows_is_the_clients),
      cmocka_unit_test(what_is_none),
      cmocka_unit_test(networks),
      cmocka_unit_test(what_is_no_network),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
