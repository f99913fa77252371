/* log_format.c - see log_format.h. */
#include "server/ops/log_format.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "server/base/utf8.h"

#define ESCAPE_BYTES 4 /* \xHH */
#define CUT_MARK "..."
#define CUT_BYTES (sizeof CUT_MARK - 1)
#define OFFSET_BYTES 12 /* "+02:00" */

/* ---- what may stand in a line ---- */

/* Ends of lines, and what turns the direction of what follows. */
static bool is_hidden(uint32_t code) {
  return code < 0xa0 || code == 0x2028 || code == 0x2029 || code == 0x200e || code == 0x200f ||
         (code >= 0x202a && code <= 0x202e) || (code >= 0x2066 && code <= 0x2069) || code == 0xfeff;
}

/* The length of the character at `text`, if it may stand there; 0: it may not. */
static size_t plain_bytes(const char *text) {
  uint32_t code;
  size_t len = utf8_read(text, &code);
  bool plain = len > 1 ? !is_hidden(code) : code >= ' ' && code != 0x7f;
  return plain ? len : 0;
}

static void put_escape(char *to, unsigned char byte) {
  static const char digits[] = "0123456789abcdef";
  memcpy(to, (char[]){'\\', 'x', digits[byte >> 4], digits[byte & 15]}, ESCAPE_BYTES);
}

/* A character as it stands in a line; returns its length. quoted: in a JSON string. */
static size_t put_plain(char *to, const char *text, size_t len, bool quoted) {
  bool marks = quoted && (text[0] == '"' || text[0] == '\\');
  if (marks) *to++ = '\\';
  memcpy(to, text, len);
  return len + marks;
}

/* In JSON the backslash of an escape needs one of its own. */
static size_t put_hidden(char *to, char byte, bool quoted) {
  if (quoted) *to++ = '\\';
  put_escape(to, (unsigned char)byte);
  return ESCAPE_BYTES + quoted;
}

/* Appends the text up to `end`; returns the new length. */
static size_t put_text(char *line, size_t len, size_t end, const struct log_event *event,
                       bool quoted) {
  for (const char *text = event->text; *text != '\0';) {
    size_t plain = plain_bytes(text);
    if (len + ESCAPE_BYTES + 1 + CUT_BYTES > end) {
      memcpy(line + len, CUT_MARK, CUT_BYTES);
      return len + CUT_BYTES;
    }
    len += plain > 0 ? put_plain(line + len, text, plain, quoted)
                     : put_hidden(line + len, *text, quoted);
    text += plain > 0 ? plain : 1;
  }
  return len;
}

/* ---- the head of a line ---- */

/* The local time, as ISO 8601 or as Redis writes it; "+02:00" is its distance from UTC. */
static void print_time(const struct log_event *event, bool iso, char text[64],
                       char offset[OFFSET_BYTES]) {
  struct tm local;
  snprintf(text, 64, "?");
  snprintf(offset, OFFSET_BYTES, "+00:00");
  if (localtime_r(&event->time.tv_sec, &local) == NULL) return;
  strftime(text, 64, iso ? "%Y-%m-%dT%H:%M:%S" : "%d %b %Y %H:%M:%S", &local);
  unsigned minutes = (unsigned)(local.tm_gmtoff < 0 ? -local.tm_gmtoff : local.tm_gmtoff) / 60;
  snprintf(offset, OFFSET_BYTES, "%c%02u:%02u", local.tm_gmtoff < 0 ? '-' : '+', minutes / 60 % 100,
           minutes % 60);
}

static int head_of_text(const struct log_event *event, char line[LOG_LINE_MAX]) {
  static const char marks[] = {[LOG_LEVEL_DEBUG] = '.',
                               [LOG_LEVEL_VERBOSE] = '-',
                               [LOG_LEVEL_NOTICE] = '*',
                               [LOG_LEVEL_WARNING] = '#'};
  char time[64], offset[OFFSET_BYTES];
  print_time(event, false, time, offset);
  return snprintf(line, LOG_LINE_MAX, "%ld %s.%03ld %s %c ", event->pid, time,
                  event->time.tv_nsec / 1000000, offset, marks[event->level]);
}

static int head_of_json(const struct log_event *event, char line[LOG_LINE_MAX]) {
  static const char *const levels[] = {[LOG_LEVEL_DEBUG] = "debug",
                                       [LOG_LEVEL_VERBOSE] = "verbose",
                                       [LOG_LEVEL_NOTICE] = "notice",
                                       [LOG_LEVEL_WARNING] = "warning"};
  char time[64], offset[OFFSET_BYTES];
  print_time(event, true, time, offset);
  return snprintf(line, LOG_LINE_MAX,
                  "{\"time\":\"%s.%03ld%s\",\"pid\":%ld,\"level\":\"%s\",\"text\":\"", time,
                  event->time.tv_nsec / 1000000, offset, event->pid, levels[event->level]);
}

size_t log_format_line(enum log_format format, const struct log_event *event,
                       char line[LOG_LINE_MAX]) {
  bool json = format == LOG_FORMAT_JSON;
  const char *tail = json ? "\"}\n" : "\n";
  size_t tail_bytes = strlen(tail);
  int head = json ? head_of_json(event, line) : head_of_text(event, line);
  size_t len = put_text(line, (size_t)head, LOG_LINE_MAX - tail_bytes, event, json);
  memcpy(line + len, tail, tail_bytes);
  return len + tail_bytes;
}
