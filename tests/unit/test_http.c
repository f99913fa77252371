/* test_http.c - the HTTP port: whose Host it takes, what it makes of bytes of clients, and its
 * connections while there is no loop. Time is a number where it matters. */
#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "server/base/clock.h"
#include "server/net/http.h"
#include "server/net/http_chart.h"
#include "server/net/http_conns.h"
#include "server/net/http_format.h"
#include "server/net/http_host.h"
#include "server/net/http_key.h"
#include "server/net/http_make.h"
#include "server/net/http_text.h"

/* ---- Host ---- */

static void hosts(void **state) {
  (void)state;
  static const char *const good[] = {"127.0.0.1", "127.0.0.1:80",    "10.0.0.7",  "[::1]",
                                     "[::1]:9",   "[fe80::1]:65535", "localhost", "LocalHost:8080",
                                     "a.example", "B.EXAMPLE:1",     "127.0.0.1:"};
  static const char *const bad[] = {"",
                                    ":80",
                                    "evil",
                                    "a.example.evil",
                                    "a",
                                    "a.exampl",
                                    "localhost.",
                                    "[::1",
                                    "::1",
                                    "[::1]x",
                                    "1.2.3",
                                    "127.0.0.1x",
                                    "[127.0.0.1]",
                                    "a.example b.example",
                                    " ",
                                    "localhost:123456",
                                    "localhost:8o",
                                    "[::1]:x"};
  for (size_t i = 0; i < sizeof good / sizeof good[0]; i++)
    if (!http_host_allowed(span_of(good[i]), "a.example b.example")) fail_msg("%s", good[i]);
  for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
    if (http_host_allowed(span_of(bad[i]), "a.example b.example")) fail_msg("%s", bad[i]);
  assert_false(http_host_allowed(SPAN_LITERAL("localhost\0.evil"), " "));
}

/* ---- texts ---- */

static void shows(const struct http_text *text, const char *expected) {
  assert_false(text->failed);
  size_t len = strlen(expected);
  if (text->len != len || (len > 0 && memcmp(text->bytes, expected, len) != 0))
    fail_msg("'%.*s' instead of '%s'", (int)text->len, text->bytes, expected);
}

static void bytes_as_html_and_json(void **state) {
  (void)state;
  static const struct {
    struct span bytes;
    const char *html, *json;
  } cases[] = {
      {SPAN_LITERAL("plain-1"), "plain-1", "\"plain-1\""},
      {SPAN_LITERAL("<a b=\"c\">'`&"), "&lt;a b=&quot;c&quot;&gt;&#39;&#96;&amp;",
       "\"\\u003ca b=\\u0022c\\u0022\\u003e'`\\u0026\""},
      {SPAN_LITERAL("a\0\x1b\x7f\n\\"), "a\\x00\\x1b\\x7f\\n\\\\",
       "\"a\\u0000\\u001b\\u007f\\u000a\\u005c\""},
      {SPAN_LITERAL("\xc3\xa9\xe2\x98\x83\xf0\x9f\x90\x9d"), "\xc3\xa9\xe2\x98\x83\xf0\x9f\x90\x9d",
       "\"\xc3\xa9\xe2\x98\x83\xf0\x9f\x90\x9d\""},
      {SPAN_LITERAL("\xff\xc0\xaf\xed\xa0\x80\xf4\x90\x80\x80"),
       "\\xff\\xc0\\xaf\\xed\\xa0\\x80\\xf4\\x90\\x80\\x80",
       "\"\\ufffd\\ufffd\\ufffd\\ufffd\\ufffd\\ufffd\\ufffd\\ufffd\\ufffd\\ufffd\""},
      {SPAN_LITERAL("\xe2\x98"), "\\xe2\\x98", "\"\\ufffd\\ufffd\""},
      {SPAN_LITERAL("\xe2\x80\xae\xe2\x80\xa8"), "\\u{202e}\\u{2028}", "\"\xe2\x80\xae\\u2028\""},
      {SPAN_LITERAL(""), "", "\"\""},
  };
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    struct http_text html = {0}, json = {0};
    http_text_put(&html, "");
    http_text_html(&html, cases[i].bytes);
    http_text_json(&json, cases[i].bytes);
    shows(&html, cases[i].html);
    shows(&json, cases[i].json);
    http_text_deinit(&html);
    http_text_deinit(&json);
  }
}

/* Every byte alone, and after each first byte of a character: nothing below is left as it is. */
static void no_byte_gets_through(void **state) {
  (void)state;
  for (unsigned first = 0; first < 256; first++) {
    for (unsigned second = 0; second < 256; second++) {
      char bytes[2] = {(char)first, (char)second};
      struct http_text text = {0};
      http_text_html(&text, (struct span){bytes, 2});
      http_text_json(&text, (struct span){bytes, 2});
      for (size_t i = 0; i < text.len; i++)
        assert_true((unsigned char)text.bytes[i] >= 0x20 && text.bytes[i] != 0x7f &&
                    text.bytes[i] != '<' && text.bytes[i] != '>');
      assert_true(http_text_is_utf8((struct span){text.bytes, text.len}));
      http_text_deinit(&text);
    }
  }
}

static void a_text_has_an_end(void **state) {
  (void)state;
  struct http_text text = {0};
  for (size_t i = 0; i < HTTP_TEXT_MAX / 8; i++) http_text_put(&text, "12345678");
  assert_false(text.failed);
  assert_int_equal(text.len, HTTP_TEXT_MAX);
  http_text_put(&text, "x");
  assert_true(text.failed);
  assert_int_equal(text.len, HTTP_TEXT_MAX);
  http_text_deinit(&text);
}

static void key_is(const char *key, bool whole, const char *expected) {
  struct http_text text = {0};
  http_key_html(&text, span_of(key), whole, false);
  shows(&text, expected);
  http_text_deinit(&text);
}

static void keys(void **state) {
  (void)state;
  key_is("order-1", true, "<code>order-1</code>");
  key_is("order-1", false, "<code>…r-1</code>");
  key_is("x", false, "<code>…</code>");
  key_is("order-2024-4711", false, "<code>…24-4711</code>");
  key_is("order-2024-471199", false, "<code>…4-471199</code>");
  key_is("\xff\xff\xc3\xa9\xc3\xa9", false, "<code>…éé</code>");
  key_is("0123456789012345678901234567890123456789012345678901234567890\"", true,
         "<code title=\"0123456789012345678901234567890123456789012345678901234567890&quot;\">"
         "01234567890123456789012345678901…678901234567890&quot;</code>");
}

static void arguments(void **state) {
  (void)state;
  static const char *const cases[][2] = {
      {"order:1/a.b-c_d", "order:1/a.b-c_d"},
      {"a b", "&quot;a b&quot;"},
      {"", "&quot;&quot;"},
      {"a\"b\\c", "&quot;a\\&quot;b\\\\c&quot;"},
      {"\xc3\xa9<", "&quot;\\xc3\\xa9&lt;&quot;"},
      {"\r\n\t\x01", "&quot;\\r\\n\\t\\x01&quot;"},
  };
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    struct http_text text = {0};
    http_key_argument(&text, span_of(cases[i][0]));
    shows(&text, cases[i][1]);
    http_text_deinit(&text);
  }
}

static void numbers(void **state) {
  (void)state;
  struct http_text text = {0};
  static const uint64_t counts[] = {0, 999, 1000, 1001001, UINT64_MAX};
  for (size_t i = 0; i < 5; i++) {
    http_format_count(&text, counts[i]);
    http_text_put(&text, " ");
  }
  static const int64_t durations[] = {0, 999, 1000, 59999, 60000, 3600000, 90000000};
  for (size_t i = 0; i < 7; i++) {
    http_format_duration(&text, durations[i]);
    http_text_put(&text, "|");
  }
  static const uint64_t sizes[] = {1023, 1024, 1536 * 1024, UINT64_C(5) << 40};
  for (size_t i = 0; i < 4; i++) {
    http_format_bytes(&text, sizes[i]);
    http_text_put(&text, "|");
  }
  shows(&text,
        "0 999 1,000 1,001,001 18,446,744,073,709,551,615 "
        "0 ms|999 ms|1.0 s|59.9 s|1 min 00 s|1 h 00 min|1 d 1 h|"
        "1023 B|1.00 KiB|1.50 MiB|5.00 TiB|");
  http_text_deinit(&text);
}

/* ---- connections ---- */

static struct {
  struct options options;
  struct log log;
  struct http *http;
} rig;

static int free_port(void) {
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  socklen_t len = sizeof address;
  int fd = socket(AF_INET, SOCK_STREAM, 0);
  assert_int_equal(bind(fd, (struct sockaddr *)&address, len), 0);
  assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &len), 0);
  close(fd);
  return ntohs(address.sin_port);
}

static int open_port(void **state) {
  (void)state;
  char error[REFUSAL_BYTES];
  options_init(&rig.options);
  assert_int_equal(log_open(&rig.log, "/dev/null", LOG_LEVEL_NOTICE), 0);
  bool open = false;
  for (unsigned i = 0; i < 10 && !open; i++) {
    rig.options.http_port = free_port();
    open = http_open(&rig.http, &rig.options, &rig.log, error);
  }
  return open && rig.http != NULL ? 0 : -1;
}

static int close_port(void **state) {
  (void)state;
  http_close(rig.http);
  log_close(&rig.log);
  options_deinit(&rig.options);
  return 0;
}

static int connected(void) {
  struct sockaddr_in address = {.sin_family = AF_INET,
                                .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
                                .sin_port = htons((uint16_t)rig.options.http_port)};
  int fd = socket(AF_INET, SOCK_STREAM, 0);
  assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof address), 0);
  return fd;
}

static void say(int fd, const char *text) {
  assert_int_equal(send(fd, text, strlen(text), MSG_NOSIGNAL), strlen(text));
}

static int64_t now_ms(void) { return (int64_t)(clock_monotonic_ns() / 1000000); }

/* What has come; "" when the connection is closed, NULL when nothing has. */
static const char *heard(int fd) {
  static char text[32768];
  ssize_t len = recv(fd, text, sizeof text - 1, MSG_DONTWAIT);
  if (len < 0) return NULL;
  text[len] = '\0';
  return text;
}

static const char *asked(int fd, const char *request) {
  say(fd, request);
  const char *text = NULL;
  for (unsigned i = 0; i < 1000 && text == NULL; i++) {
    http_work(rig.http, 42);
    text = heard(fd);
  }
  return text != NULL ? text : "nothing";
}

static void before_there_is_a_loop(void **state) {
  (void)state;
  int fd = connected();
  assert_non_null(strstr(asked(fd, "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"), " 200 OK"));
  const char *text = asked(fd, "GET /readyz HTTP/1.1\r\nHost: localhost\r\n\r\n");
  assert_non_null(strstr(text, "HTTP/1.1 503"));
  assert_non_null(strstr(text, "recovering: 42 % of the journal is read\n"));
  assert_non_null(strstr(asked(fd, "GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n"), " 503 "));
  assert_non_null(strstr(asked(fd, "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"), "has read 42 %"));
  close(fd);
}

/* One byte now and then does not help. */
static void a_request_that_comes_slowly(void **state) {
  (void)state;
  int fd = connected(), idle = connected();
  int64_t begun_ms = now_ms();
  say(fd, "GET / HTTP/1.1\r\n");
  http_work(rig.http, 0);
  assert_int_equal(rig.http->open, 2);
  http_conns_check(rig.http, begun_ms + HTTP_TIMEOUT_MS - 1);
  say(fd, "X: y\r\n");
  http_work(rig.http, 0);
  assert_null(heard(fd));
  http_conns_check(rig.http, now_ms() + HTTP_TIMEOUT_MS);
  assert_int_equal(rig.http->open, 0);
  assert_string_equal(heard(fd), "");
  assert_string_equal(heard(idle), "");
  assert_int_equal(rig.http->count.late, 2);
  close(fd);
  close(idle);
}

/* The time begins anew with each request, whole or not. */
static void a_connection_that_is_kept(void **state) {
  (void)state;
  int fd = connected();
  say(fd, "GET /heal");
  http_work(rig.http, 0);
  for (struct http_conn *conn = rig.http->conns; conn < rig.http->conns + HTTP_CONNECTIONS; conn++)
    conn->deadline_ms -= HTTP_TIMEOUT_MS - 1000;
  assert_non_null(strstr(asked(fd, "thz HTTP/1.1\r\nHost: localhost\r\n\r\n"), " 200 OK"));
  http_conns_check(rig.http, now_ms() + 5000);
  assert_int_equal(rig.http->open, 1);
  close(fd);
}

static void the_oldest_makes_room(void **state) {
  (void)state;
  int fds[HTTP_CONNECTIONS + 1];
  for (unsigned i = 0; i < HTTP_CONNECTIONS; i++) {
    fds[i] = connected();
    http_work(rig.http, 0);
  }
  http_work(rig.http, 0);
  assert_int_equal(rig.http->open, HTTP_CONNECTIONS);
  assert_null(heard(fds[0])); /* none that is not wanted makes room */
  assert_non_null(strstr(asked(fds[0], "GET /healthz HTTP/1.1\r\nHost: ::\r\n\r\n"), " 421 "));
  fds[HTTP_CONNECTIONS] = connected();
  const char *text = asked(fds[HTTP_CONNECTIONS], "GET /healthz HTTP/1.0\r\n\r\n");
  assert_non_null(strstr(text, " 200 OK"));
  for (unsigned i = 0; i <= HTTP_CONNECTIONS; i++) close(fds[i]);
}

/* More of them than may be made: all are answered, some in the next second. */
static void answers_are_bounded(void **state) {
  (void)state;
  struct http_cache cache = {0};
  unsigned made = 0;
  for (unsigned i = 0; i < 100; i++) made += http_cache_may_make(&cache, 5000);
  assert_int_equal(made, HTTP_CACHE_PER_SECOND);
  assert_false(http_cache_may_make(&cache, 5999));
  assert_true(http_cache_may_make(&cache, 6000));
  cache.held_bytes = HTTP_CACHE_HELD_BYTES;
  assert_false(http_cache_may_make(&cache, 7000));
}

/* One whose answer is being made, and one whose request has not been looked at. */
static void it_ends_while_somebody_waits(void **state) {
  (void)state;
  int fd = connected(), later = connected();
  while (rig.http->open < 2) http_conns_accept(rig.http, rig.http->sockets.fds[0], now_ms());
  say(fd, "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
  while (list_empty(&rig.http->waiting)) http_conns_run(rig.http);
  say(later, "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
  close(fd);
  close(later);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(hosts),
      cmocka_unit_test(bytes_as_html_and_json),
      cmocka_unit_test(no_byte_gets_through),
      cmocka_unit_test(a_text_has_an_end),
      cmocka_unit_test(keys),
      cmocka_unit_test(arguments),
      cmocka_unit_test(numbers),
      cmocka_unit_test(answers_are_bounded),
      cmocka_unit_test_setup_teardown(before_there_is_a_loop, open_port, close_port),
      cmocka_unit_test_setup_teardown(a_request_that_comes_slowly, open_port, close_port),
      cmocka_unit_test_setup_teardown(a_connection_that_is_kept, open_port, close_port),
      cmocka_unit_test_setup_teardown(the_oldest_makes_room, open_port, close_port),
      cmocka_unit_test_setup_teardown(it_ends_while_somebody_waits, open_port, close_port),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
