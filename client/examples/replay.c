/* replay.c - see replay.h. */
#include "client/examples/replay.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#define BOUNDARY_BYTES 71 /* RFC 2046: at most 70 characters */

/* Answers that say nothing about the work: the same request may succeed later, or with
 * credentials. */
static const int RETRYABLE[] = {401, 403, 408, 409, 423, 425, 429};

/* A denylist: Location, ETag, Link and what else the application says must come back. In addition
 * goes whatever the response's Connection header names. */
static const char *const NEVER_STORED[] = {
    /* They would log in a stranger that has the key, and undo the logout of a caller that retries
     * late. */
    "Set-Cookie", "Set-Cookie2", "Clear-Site-Data",
    /* What authenticates belongs to one exchange: a challenge and its nonce, a proof, credentials.
     */
    "WWW-Authenticate", "Proxy-Authenticate", "Authentication-Info", "Proxy-Authentication-Info",
    "Authorization", "Proxy-Authorization",
    /* Said of one message at one time. */
    "Date", "Age", "Via", "Server", "Alt-Svc",
    /* Hop by hop. */
    "Connection", "Keep-Alive", "Proxy-Connection", "TE", "Trailer", "Transfer-Encoding",
    "Upgrade"};

#define COUNT(array) (sizeof(array) / sizeof(array)[0])

/* ---- the key ---- */

static enum replay_key check_key(const char *key, size_t len) {
  if (len == 0 || len > REPLAY_KEY_LIMIT || strspn(key, " ") == len) return REPLAY_BAD_KEY;
  for (size_t i = 0; i < len; i++) {
    if (key[i] < ' ' || key[i] > '~') return REPLAY_BAD_KEY;
  }
  return REPLAY_ONE_KEY;
}

enum replay_key replay_key_in_header(const struct web_request *request, const char *name,
                                     char key[REPLAY_KEY_BYTES]) {
  size_t count = web_header_count(request, name);
  size_t len;
  if (count == 0) return REPLAY_NO_KEY;
  const char *value = web_header(request, name);
  if (count > 1 || value == NULL) return REPLAY_BAD_KEY;
  value += strspn(value, " \t");
  /* A bare key has no comma: with one, servers and proxies join several headers to one. */
  if (*value != '"' && strpbrk(value, "\",") != NULL) return REPLAY_BAD_KEY;
  if (idem_key_from_header(idem_text(value), IDEM_HEADER_UNQUOTED, key, REPLAY_KEY_LIMIT, &len) !=
      IDEM_OK) {
    return REPLAY_BAD_KEY;
  }
  key[len] = '\0';
  return check_key(key, len);
}

#define UUID_CHARACTERS 36

/* "tttttttt-tttt-7xxx-[89ab]xxx-xxxxxxxxxxxx", RFC 9562: t is the time. */
static int is_uuid7(const char *key) {
  if (strlen(key) != UUID_CHARACTERS || key[14] != '7' || strchr("89abAB", key[19]) == NULL)
    return 0;
  for (int i = 0; i < UUID_CHARACTERS; i++) {
    int dash = i == 8 || i == 13 || i == 18 || i == 23;
    if (dash ? key[i] != '-' : !isxdigit((unsigned char)key[i])) return 0;
  }
  return 1;
}

int64_t replay_born(const char *key) {
  unsigned high, low;
  struct timespec now;
  if (!is_uuid7(key) || sscanf(key, "%8x-%4x", &high, &low) != 2) return 0;
  int64_t born_ms = (int64_t)high << 16 | low;
  clock_gettime(CLOCK_REALTIME, &now);
  return born_ms <= (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000 ? born_ms : 0;
}

enum replay_key replay_key_in_fields(const struct web_request *request, const char *name,
                                     char key[REPLAY_KEY_BYTES]) {
  const struct web_text query = web_query(request), form = web_form(request);
  size_t in_query = web_field_count(query, name);
  size_t count = in_query + web_field_count(form, name);
  if (count == 0) return REPLAY_NO_KEY;
  if (count > 1) return REPLAY_BAD_KEY;
  return check_key(key, web_field(in_query ? query : form, name, key, REPLAY_KEY_BYTES));
}

/* ---- the fingerprint ---- */

/* Of "multipart/...; boundary=B". The length; 0: it is no multipart body. */
static size_t find_boundary(const struct web_request *request, char out[BOUNDARY_BYTES]) {
  const char *type = web_header(request, "Content-Type");
  if (type == NULL || strncasecmp(type, "multipart/", 10) != 0) return 0;
  const char *boundary = strcasestr(type, "boundary=");
  if (boundary == NULL) return 0;
  boundary += strlen("boundary=");
  int quoted = *boundary == '"';
  boundary += quoted;
  size_t len = strcspn(boundary, quoted ? "\"" : "; \t\"");
  if (len >= BOUNDARY_BYTES) return 0;
  memcpy(out, boundary, len);
  return len;
}

static void put_piece(FILE *out, const char *piece, size_t len) {
  fprintf(out, "%zu:", len);
  fwrite(piece, 1, len, out);
}

/* What stands between the delimiters, each with its length. */
static void put_pieces(FILE *out, const struct web_request *request, const char *boundary,
                       size_t boundary_len) {
  char delimiter[BOUNDARY_BYTES + 4] = "\r\n--";
  size_t len = boundary_len + 4;
  memcpy(delimiter + 4, boundary, boundary_len);
  const char *end = request->body + request->body_len;
  const char *piece = request->body;
  /* The first delimiter has no line before it. */
  if (request->body_len >= len - 2 && memcmp(piece, delimiter + 2, len - 2) == 0) {
    put_piece(out, piece, 0);
    piece += len - 2;
  }
  for (;;) {
    const char *next = memmem(piece, (size_t)(end - piece), delimiter, len);
    put_piece(out, piece, (size_t)((next != NULL ? next : end) - piece));
    if (next == NULL) return;
    piece = next + len;
  }
}

static void put_body(FILE *out, const struct web_request *request, const char *key_field) {
  char boundary[BOUNDARY_BYTES];
  size_t boundary_len = find_boundary(request, boundary);
  if (boundary_len > 0) {
    put_pieces(out, request, boundary, boundary_len);
  } else if (web_form(request).data != NULL) {
    web_put_fields_without(out, web_form(request), key_field);
  } else {
    fwrite(request->body, 1, request->body_len, out);
  }
}

static void put_target(FILE *out, const struct web_request *request, const char *key_field) {
  fwrite(request->target, 1, strcspn(request->target, "?"), out);
  fputc('?', out);
  web_put_fields_without(out, web_query(request), key_field);
}

int replay_fingerprint(const struct web_request *request, const char *key_field,
                       struct idem_fingerprint *out) {
  char *target = NULL, *body = NULL;
  size_t target_len = 0, body_len = 0;
  FILE *stream = open_memstream(&target, &target_len);
  if (stream != NULL) put_target(stream, request, key_field);
  int missing = stream == NULL || fclose(stream) != 0;
  stream = open_memstream(&body, &body_len);
  if (stream != NULL) put_body(stream, request, key_field);
  missing |= stream == NULL || fclose(stream) != 0;
  const struct idem_http_request what = {.method = idem_text(request->method),
                                         .path = idem_data(target, target_len),
                                         .body = idem_data(body, body_len)};
  if (!missing) missing = idem_fingerprint(&what, out) != IDEM_OK;
  free(target);
  free(body);
  return missing ? -1 : 0;
}

/* ---- what is kept ---- */

int replay_keeps(int status) {
  for (size_t i = 0; i < COUNT(RETRYABLE); i++) {
    if (status == RETRYABLE[i]) return 0;
  }
  return status < 500;
}

static int is_name(struct web_text name, const char *of) {
  return name.len == strlen(of) && strncasecmp(name.data, of, name.len) == 0;
}

/* Whether a "Name: value" line of the headers is Connection, and names this one. */
static int connection_names(const char *line, struct web_text name) {
  static const char OF[] = "Connection:";
  if (strncasecmp(line, OF, sizeof OF - 1) != 0) return 0;
  const char *end = line + strcspn(line, "\n");
  for (const char *at = line + sizeof OF - 1; at < end;) {
    at += strspn(at, " \t,");
    size_t len = strcspn(at, " \t,\n");
    if (len == name.len && strncasecmp(at, name.data, len) == 0) return 1;
    at += len;
  }
  return 0;
}

static const char *next_line(const char *line) {
  line += strcspn(line, "\n");
  return *line == '\n' ? line + 1 : line;
}

static int is_storable(const char *headers, struct web_text name) {
  for (size_t i = 0; i < COUNT(NEVER_STORED); i++) {
    if (is_name(name, NEVER_STORED[i])) return 0;
  }
  for (const char *line = headers; *line != '\0'; line = next_line(line)) {
    if (connection_names(line, name)) return 0;
  }
  return 1;
}

/* Lines "Name: value\n"; nonzero when one of them is none. */
static int put_storable(FILE *out, const char *headers) {
  for (const char *line = headers; *line != '\0'; line = next_line(line)) {
    const struct web_text name = {line, strcspn(line, ":\n")};
    if (name.len == 0 || line[name.len] != ':' || strchr(line, '\n') == NULL) return -1;
    if (is_storable(headers, name)) fwrite(line, 1, (size_t)(next_line(line) - line), out);
  }
  return 0;
}

static char *storable(const char *headers) {
  char *kept = NULL;
  size_t len;
  FILE *stream = open_memstream(&kept, &len);
  if (stream == NULL) return NULL;
  int wrong = put_storable(stream, headers != NULL ? headers : "");
  if (fclose(stream) == 0 && !wrong) return kept;
  free(kept);
  return NULL;
}

char *replay_head(const struct web_response *response) {
  char *head = NULL;
  if (response->broken) return NULL;
  char *headers = storable(response->headers);
  if (headers == NULL || asprintf(&head, "%d\n%s", response->status, headers) < 0) head = NULL;
  free(headers);
  return head;
}

/* "200\n" and headers. 0, or -1 when it is not that. */
static int parse_head(struct web_response *response, const char *head) {
  char *end = NULL;
  long status = head != NULL ? strtol(head, &end, 10) : 0;
  if (status < 200 || status > 599 || *end != '\n') return -1;
  response->status = (int)status;
  /* Filtered here, too: a record may be older than the table. */
  response->headers = storable(end + 1);
  return response->headers != NULL ? 0 : -1;
}

void replay_restore(struct web_response *response, const struct idem_answer *answer) {
  web_response_clear(response);
  if (strlen(answer->meta.data != NULL ? answer->meta.data : "") != answer->meta.len ||
      parse_head(response, answer->meta.data) != 0) {
    web_problem(response, 410, "Gone",
                "This request has run, but its response is not kept in a form that can be shown "
                "again.");
    return;
  }
  web_set_body(response, answer->body.data, answer->body.len);
  web_add_header(response, "Idempotent-Replayed", "true");
}
