/* reply.c - replies and argument checks that several families use. */
#include "server/commands/command.h"

/* A body of at least this many bytes is sent from where it lies, without a copy; shorter ones join
 * the other replies of the turn in one buffer. */
#define PINNED_BYTES (16u * 1024)

void reply_ok(struct call *call) { resp_simple(call->reply, "OK"); }

void reply_syntax_error(struct call *call) { resp_error(call->reply, "ERR syntax error"); }

void reply_wrongtype(struct call *call) {
  resp_error(call->reply, "WRONGTYPE Operation against a key holding the wrong kind of value");
}

void reply_oom(struct call *call) {
  resp_error(call->reply, "OOM command not allowed when used memory > 'maxmemory'.");
}

void reply_blob(struct resp_writer *reply, struct shard *shard, struct engine_blob *blob,
                struct span bytes) {
  if (bytes.len < PINNED_BYTES || reply->out->failed) {
    resp_bulk(reply, bytes);
    return;
  }
  size_t refs = reply->out->ref_count;
  resp_bulk_pinned(reply, bytes, blob, shard);
  if (reply->out->ref_count > refs) engine_pin(blob);
}

void reply_body(struct call *call, struct engine_blob *body) {
  reply_blob(call->reply, call->shard, body, engine_bytes(body));
}

bool parse_integer(struct call *call, struct span text, long long *value) {
  if (span_to_i64(text, value)) return true;
  resp_error(call->reply, "ERR value is not an integer or out of range");
  return false;
}

/* ---- globs ---- */

static char fold(char c, bool ignore_case) {
  return ignore_case && c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

/* The set at p, behind '['. Returns what is behind it and whether c is in it. An open set ends with
 * the pattern. */
static const char *match_set(const char *p, const char *end, char c, bool ignore_case, bool *in) {
  bool negated = p < end && *p == '^';
  bool found = false;
  if (negated) p++;
  for (; p < end && *p != ']'; p++) {
    if (*p == '\\' && p + 1 < end) {
      p++;
      found |= fold(*p, ignore_case) == c;
    } else if (end - p >= 3 && p[1] == '-') {
      unsigned char low = (unsigned char)fold(p[0], ignore_case),
                    high = (unsigned char)fold(p[2], ignore_case);
      if (low > high) {
        unsigned char swapped = low;
        low = high;
        high = swapped;
      }
      found |= (unsigned char)c >= low && (unsigned char)c <= high;
      p += 2;
    } else {
      found |= fold(*p, ignore_case) == c;
    }
  }
  *in = found != negated;
  return p < end ? p + 1 : p;
}

/* One pattern element other than '*' against one byte. Returns what is behind the element, NULL
 * when it does not match. */
static const char *match_one(const char *p, const char *end, char c, bool ignore_case) {
  c = fold(c, ignore_case);
  if (*p == '?') return p + 1;
  if (*p == '[') {
    bool in = false;
    p = match_set(p + 1, end, c, ignore_case, &in);
    return in ? p : NULL;
  }
  if (*p == '\\' && p + 1 < end) p++;
  return fold(*p, ignore_case) == c ? p + 1 : NULL;
}

/* Only the last '*' need ever be tried again: what the earlier ones matched was the shortest way to
 * get there. That keeps the cost at pattern x text, where the recursive matcher is exponential in
 * the number of stars. */
bool glob_match(struct span pattern, struct span text, bool ignore_case) {
  const char *p = pattern.data, *p_end = p + pattern.len;
  const char *t = text.data, *t_end = t + text.len;
  const char *star = NULL, *retry = NULL;
  while (t < t_end) {
    if (p < p_end && *p == '*') {
      star = ++p;
      retry = t;
      continue;
    }
    const char *next = p < p_end ? match_one(p, p_end, *t, ignore_case) : NULL;
    if (next != NULL) {
      p = next;
      t++;
    } else if (star != NULL) {
      p = star;
      t = ++retry;
    } else {
      return false;
    }
  }
  while (p < p_end && *p == '*') p++;
  return p == p_end;
}
