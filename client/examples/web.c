/* web.c - see web.h. libmicrohttpd hands a request over in pieces; a handler gets it whole. */
#include "client/examples/web.h"

#include <arpa/inet.h>
#include <microhttpd.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define HEADER_LINE_BYTES 1024
#define HEADERS_LIMIT_BYTES ((size_t)64 * 1024)

struct site {
  web_handler *handler;
  void *context;
};

/* One request while it comes in. */
struct upload {
  char *target;
  char *data;
  size_t len, size;
  int begun;
  int too_big;
};

struct named {
  const char *name;
  size_t count;
};

/* ---- reading a request ---- */

const char *web_header(const struct web_request *request, const char *name) {
  return MHD_lookup_connection_value(request->connection, MHD_HEADER_KIND, name);
}

static enum MHD_Result count_named(void *context, enum MHD_ValueKind kind, const char *name,
                                   const char *value) {
  struct named *named = context;
  (void)kind, (void)value;
  named->count += strcasecmp(name, named->name) == 0;
  return MHD_YES;
}

size_t web_header_count(const struct web_request *request, const char *name) {
  struct named named = {name, 0};
  MHD_get_connection_values(request->connection, MHD_HEADER_KIND, count_named, &named);
  return named.count;
}

static int hex_digit(char digit) {
  if (digit >= '0' && digit <= '9') return digit - '0';
  if (digit >= 'a' && digit <= 'f') return digit - 'a' + 10;
  if (digit >= 'A' && digit <= 'F') return digit - 'A' + 10;
  return -1;
}

struct web_text web_query(const struct web_request *request) {
  const char *query = strchr(request->target, '?');
  if (query == NULL) return (struct web_text){"", 0};
  return (struct web_text){query + 1, strlen(query + 1)};
}

struct web_text web_form(const struct web_request *request) {
  const char *type = web_header(request, "Content-Type");
  const char form[] = "application/x-www-form-urlencoded";
  if (type == NULL || strncasecmp(type, form, sizeof form - 1) != 0) return (struct web_text){0};
  return (struct web_text){request->body, request->body_len};
}

/* Takes the first field off; 0 when there is none left. */
static int next_field(struct web_text *fields, struct web_text *field) {
  if (fields->len == 0) return 0;
  const char *end = memchr(fields->data, '&', fields->len);
  *field =
      (struct web_text){fields->data, end != NULL ? (size_t)(end - fields->data) : fields->len};
  size_t taken = field->len + (end != NULL);
  *fields = (struct web_text){fields->data + taken, fields->len - taken};
  return 1;
}

static int is_named(struct web_text field, const char *name) {
  size_t len = name != NULL ? strlen(name) : SIZE_MAX;
  return field.len >= len && memcmp(field.data, name, len) == 0 &&
         (field.len == len || field.data[len] == '=');
}

size_t web_field_count(struct web_text fields, const char *name) {
  struct web_text field;
  size_t count = 0;
  while (next_field(&fields, &field)) count += (size_t)is_named(field, name);
  return count;
}

static size_t decode(const char *from, const char *end, char *out, size_t size) {
  size_t len = 0;
  while (from < end) {
    char byte = *from++;
    if (byte == '+') byte = ' ';
    if (byte == '%' && end - from >= 2 && hex_digit(from[0]) >= 0 && hex_digit(from[1]) >= 0) {
      byte = (char)(hex_digit(from[0]) * 16 + hex_digit(from[1]));
      from += 2;
    }
    if (len + 1 < size) out[len] = byte;
    len++;
  }
  out[len < size ? len : size - 1] = '\0';
  return len;
}

size_t web_field(struct web_text fields, const char *name, char *out, size_t size) {
  struct web_text field;
  out[0] = '\0';
  while (next_field(&fields, &field)) {
    if (!is_named(field, name)) continue;
    const char *end = field.data + field.len;
    const char *value = field.data + strlen(name);
    return decode(value < end ? value + 1 : end, end, out, size);
  }
  return 0;
}

void web_put_fields_without(FILE *out, struct web_text fields, const char *name) {
  struct web_text field;
  const char *before = "";
  while (next_field(&fields, &field)) {
    if (is_named(field, name)) continue;
    fputs(before, out);
    fwrite(field.data, 1, field.len, out);
    before = "&";
  }
}

/* ---- making a response ---- */

void web_response_clear(struct web_response *response) {
  free(response->body);
  free(response->headers);
  memset(response, 0, sizeof *response);
}

void web_add_header(struct web_response *response, const char *name, const char *format, ...) {
  char line[HEADER_LINE_BYTES];
  va_list values;
  va_start(values, format);
  int len = vsnprintf(line, sizeof line, format, values);
  va_end(values);
  size_t before = response->headers != NULL ? strlen(response->headers) : 0;
  size_t more = strlen(name) + strlen(line) + 4;
  char *grown = len < 0 || (size_t)len >= sizeof line || before + more > HEADERS_LIMIT_BYTES ||
                        strpbrk(line, "\r\n") != NULL
                    ? NULL
                    : realloc(response->headers, before + more);
  if (grown == NULL) {
    response->broken = 1;
    return;
  }
  snprintf(grown + before, more, "%s: %s\n", name, line);
  response->headers = grown;
}

void web_answer(struct web_response *response, int status, const char *type, const char *format,
                ...) {
  web_response_clear(response);
  response->status = status;
  web_add_header(response, "Content-Type", "%s", type);
  va_list values;
  va_start(values, format);
  int len = vasprintf(&response->body, format, values);
  va_end(values);
  if (len < 0) {
    response->body = NULL;
    response->broken = 1;
    return;
  }
  response->body_len = (size_t)len;
}

void web_problem(struct web_response *response, int status, const char *title, const char *detail) {
  web_answer(response, status, "application/problem+json",
             "{\"title\": \"%s\", \"status\": %d, \"detail\": \"%s\"}\n", title, status, detail);
}

void web_set_body(struct web_response *response, const void *body, size_t len) {
  char *copy = malloc(len + 1);
  if (copy == NULL) {
    response->broken = 1;
    return;
  }
  memcpy(copy, body, len);
  free(response->body);
  response->body = copy;
  response->body_len = len;
}

/* ---- serving ---- */

/* One "Name: value" line of `headers`; returns where the next one begins. Changes the text. */
static char *add_line(struct MHD_Response *response, char *line) {
  char *end = strchr(line, '\n');
  char *colon = strchr(line, ':');
  if (end == NULL) return line + strlen(line);
  *end = '\0';
  if (colon != NULL && colon < end) {
    *colon = '\0';
    MHD_add_response_header(response, line, colon + 1 + strspn(colon + 1, " "));
  }
  return end + 1;
}

static enum MHD_Result send_response(struct MHD_Connection *connection,
                                     struct web_response *answer) {
  struct MHD_Response *response = MHD_create_response_from_buffer(
      answer->body_len, answer->body != NULL ? answer->body : "", MHD_RESPMEM_MUST_COPY);
  enum MHD_Result result = MHD_NO;
  if (response != NULL) {
    for (char *line = answer->headers; line != NULL && *line != '\0';) {
      line = add_line(response, line);
    }
    unsigned status = answer->broken ? 500 : (unsigned)answer->status;
    result = MHD_queue_response(connection, status, response);
    MHD_destroy_response(response);
  }
  web_response_clear(answer);
  return result;
}

static void upload_append(struct upload *upload, const char *data, size_t len) {
  size_t needed = upload->len + len + 1;
  if (needed > WEB_BODY_LIMIT_BYTES + 1) upload->too_big = 1;
  if (upload->too_big) return; /* read on, keep nothing: the peer hears why */
  if (needed > upload->size) {
    size_t size = needed * 2;
    char *grown = realloc(upload->data, size);
    if (grown == NULL) {
      upload->too_big = 1;
      return;
    }
    upload->data = grown;
    upload->size = size;
  }
  memcpy(upload->data + upload->len, data, len);
  upload->len += len;
  upload->data[upload->len] = '\0';
}

/* The only place where libmicrohttpd shows the target as it came. What this returns is *memory. */
static void *on_target(void *context, const char *target, struct MHD_Connection *connection) {
  struct upload *upload = calloc(1, sizeof *upload);
  (void)context, (void)connection;
  if (upload != NULL) upload->target = strdup(target);
  if (upload != NULL && upload->target != NULL) return upload;
  free(upload);
  return NULL;
}

static enum MHD_Result on_piece(void *context, struct MHD_Connection *connection, const char *url,
                                const char *method, const char *version, const char *data,
                                size_t *data_len, void **memory) {
  const struct site *site = context;
  struct upload *upload = *memory;
  struct web_response response = {0};
  (void)version;
  if (upload == NULL) return MHD_NO;
  if (!upload->begun) {
    upload->begun = 1;
    return MHD_YES;
  }
  if (*data_len > 0) {
    upload_append(upload, data, *data_len);
    *data_len = 0;
    return MHD_YES;
  }
  if (upload->too_big) {
    web_problem(&response, 413, "Content too large", "The body is over the limit.");
  } else {
    const struct web_request request = {method,         url,
                                        upload->target, upload->data != NULL ? upload->data : "",
                                        upload->len,    connection};
    site->handler(&request, &response, site->context);
  }
  return send_response(connection, &response);
}

static void on_end(void *context, struct MHD_Connection *connection, void **memory,
                   enum MHD_RequestTerminationCode why) {
  struct upload *upload = *memory;
  (void)context, (void)connection, (void)why;
  if (upload == NULL) return;
  free(upload->target);
  free(upload->data);
  free(upload);
  *memory = NULL;
}

int web_serve(int port, web_handler *handler, void *context) {
  struct site site = {handler, context};
  struct sockaddr_in address = {.sin_family = AF_INET,
                                .sin_port = htons((uint16_t)port),
                                .sin_addr = {htonl(INADDR_LOOPBACK)}};
  sigset_t ends;
  sigemptyset(&ends);
  sigaddset(&ends, SIGINT);
  sigaddset(&ends, SIGTERM);
  /* Before the threads are there: they inherit it, and the signal waits for sigwait below. */
  pthread_sigmask(SIG_BLOCK, &ends, NULL);
  signal(SIGPIPE, SIG_IGN);
  struct MHD_Daemon *daemon = MHD_start_daemon(
      MHD_USE_THREAD_PER_CONNECTION | MHD_USE_INTERNAL_POLLING_THREAD | MHD_USE_POLL, 0, NULL, NULL,
      on_piece, &site, MHD_OPTION_SOCK_ADDR, &address, MHD_OPTION_CONNECTION_LIMIT,
      (unsigned)WEB_CONNECTIONS_LIMIT, MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)WEB_IDLE_TIMEOUT_S,
      MHD_OPTION_NOTIFY_COMPLETED, on_end, NULL, MHD_OPTION_URI_LOG_CALLBACK, on_target, NULL,
      MHD_OPTION_END);
  if (daemon == NULL) {
    fprintf(stderr, "cannot listen on 127.0.0.1:%d\n", port);
    return -1;
  }
  printf("listening on %d\n", MHD_get_daemon_info(daemon, MHD_DAEMON_INFO_BIND_PORT)->port);
  fflush(stdout);
  int number;
  sigwait(&ends, &number);
  MHD_stop_daemon(daemon);
  return 0;
}
