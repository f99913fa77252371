/* glob.c - see glob.h: an iterative matcher. */
#include "server/base/glob.h"

static char fold(char c, bool ignore_case) {
  return ignore_case && c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

/* The set at p, after '['. Returns what follows it and whether c is in it. An open set ends with
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

/* One pattern element other than '*' against one byte. Returns what follows the element, NULL
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
