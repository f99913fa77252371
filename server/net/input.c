/* input.c - see input.h. */
#include "server/net/input.h"

#include <assert.h>
#include <stdlib.h>

#include "server/commands/limits.h"
#include "server/net/loop.h"

/* ---- room ---- */

size_t input_size(const struct input *input) {
  return input != NULL ? input->capacity + input->apart.capacity : 0;
}

/* Whether all connections together may have so much more. */
static bool is_room_for(const struct conn *conn, size_t more) {
  const struct loop *loop = conn_loop(conn);
  return atomic_load(&loop->server->instance.input_bytes) + more <=
         (uint64_t)loop->worker.options->client_input_total;
}

/* Counts `more` bytes of room. False: that is too much, and the connection closes. */
static bool may_grow(struct conn *conn, size_t more) {
  struct loop *loop = conn_loop(conn);
  if (is_room_for(conn, more)) {
    atomic_fetch_add(&loop->server->instance.input_bytes, more);
    return true;
  }
  loop->worker.counters.closed_by_input_limit++;
  log_happened(loop->log, LOG_INPUT_TOTAL, conn->session.id, loop->worker.now_ms);
  return false;
}

static bool no_memory(const struct conn *conn) {
  struct loop *loop = conn_loop(conn);
  log_happened(loop->log, LOG_INPUT_MEMORY, conn->session.id, loop->worker.now_ms);
  return false;
}

static void gave_back(struct conn *conn, size_t room) {
  atomic_fetch_sub(&conn_loop(conn)->server->instance.input_bytes, room);
}

/* *bytes has a head and *room; now it gets room for `capacity`. */
static bool grow(struct conn *conn, char **bytes, size_t head, size_t *room, size_t capacity) {
  if (!may_grow(conn, capacity - *room)) return false;
  char *grown = realloc(*bytes, head + capacity);
  if (grown == NULL) {
    gave_back(conn, capacity - *room);
    return no_memory(conn);
  }
  *bytes = grown;
  *room = capacity;
  return true;
}

/* The capacity with which there is room for `more` bytes behind those that are valid. */
static size_t capacity_for(const struct input *input, size_t more) {
  size_t wanted = input->len - input->start + more, doubled = input->capacity * 2;
  if (wanted <= input->capacity) return input->capacity;
  return doubled < wanted ? wanted : doubled;
}

static bool reserve(struct conn *conn, size_t more) {
  struct input *input = conn->input;
  if (input->start > 0) {
    memmove(input->bytes, input->bytes + input->start, input->len - input->start);
    input->len -= input->start;
    input->start = 0;
  }
  size_t capacity = capacity_for(input, more);
  return capacity == input->capacity || grow(conn, &input->bytes, 0, &input->capacity, capacity);
}

static bool append(struct conn *conn, const char *data, size_t len) {
  if (len == 0) return true;
  if (!reserve(conn, len)) return false;
  memcpy(conn->input->bytes + conn->input->len, data, len);
  conn->input->len += len;
  return true;
}

/* ---- bodies ---- */

static bool is_on_its_way(const struct apart *apart) { return apart->arrived < apart->len; }

static char *body_of(const struct apart *apart) {
  return apart->body.piece.bytes + ADOPTED_BODY_HEAD_BYTES;
}

static void apart_drop(struct conn *conn) {
  struct apart *apart = &conn->input->apart;
  if (apart->len == 0) return;
  gave_back(conn, apart->capacity);
  received_body_release(&conn_loop(conn)->worker, &apart->body);
  *apart = (struct apart){0};
}

/* The next bytes of the body: `data` may be where they belong already. */
static bool apart_take(struct conn *conn, const char *data, size_t len) {
  struct apart *apart = &conn->input->apart;
  size_t arrived = apart->arrived + len;
  assert(arrived <= apart->len);
  if (len == 0) return true;
  if (arrived > apart->capacity) {
    size_t capacity = 2 * arrived < apart->len ? 2 * arrived : apart->len;
    if (!grow(conn, &apart->body.piece.bytes, ADOPTED_BODY_HEAD_BYTES, &apart->capacity, capacity))
      return false;
  }
  char *to = body_of(apart) + apart->arrived;
  if (data != to) memcpy(to, data, len);
  apart->arrived = arrived;
  return true;
}

/* All of the body is there. */
static void tell_reader(struct input *input) {
  assert(input->apart.arrived == input->apart.len && input->apart.capacity == input->apart.len);
  resp_read_adopted(&input->reader, input->apart.at, body_of(&input->apart));
}

/*
 * Takes the body out of the bytes of the first command, if it is one that is on its way and will be
 * kept. Sets *stay to how many of the bytes are then left: what is behind them was the body's.
 */
static bool apart_begin(struct conn *conn, const char *data, size_t len, size_t *stay) {
  struct input *input = conn->input;
  size_t at = 0, bulk = resp_read_bulk(&input->reader, data, &at);
  *stay = len;
  if (bulk < INPUT_APART_BYTES || len - at >= bulk || input->apart.len != 0) return true;
  if (!limits_is_adoptable(&conn_loop(conn)->worker, input->reader.argv, input->reader.argc))
    return true;
  input->apart = (struct apart){.len = bulk, .at = at};
  *stay = at;
  return apart_take(conn, data + at, len - at);
}

/* ---- input ---- */

void input_destroy(struct conn *conn) {
  struct input *input = conn->input;
  if (input == NULL) return;
  apart_drop(conn);
  list_remove(&input->awaited);
  gave_back(conn, input->capacity);
  resp_read_deinit(&input->reader);
  free(input->bytes);
  free(input);
  conn->input = NULL;
}

bool input_keep(struct conn *conn, const char *data, size_t len) {
  struct loop *loop = conn_loop(conn);
  struct input *input = calloc(1, sizeof *input);
  if (input == NULL) return no_memory(conn);
  conn->input = input;
  input->conn = conn;
  list_init(&input->awaited);
  if (resp_read_idle(&loop->reader)) {
    loop_setup_reader(loop, &input->reader);
  } else {
    input->reader = loop->reader;
    loop_setup_reader(loop, &loop->reader);
  }
  size_t stay;
  return apart_begin(conn, data, len, &stay) && append(conn, data, stay);
}

char *input_room(struct conn *conn, size_t *room) {
  struct input *input = conn->input;
  *room = 0;
  if (input == NULL || conn->session.waiting) return NULL;
  if (is_on_its_way(&input->apart)) {
    *room = input->apart.capacity - input->apart.arrived;
    return *room > 0 ? body_of(&input->apart) + input->apart.arrived : NULL;
  }
  /* Another long argument is read to where it will be parsed. Not more at a time than doubles what
   * has arrived, so that a mere announcement costs nothing. */
  size_t have = input->len - input->start, need = input->reader.need;
  if (need <= have + LOOP_READ_BYTES) return NULL;
  size_t more = need - have < have ? need - have : have;
  if (more < LOOP_READ_BYTES) return NULL;
  /* Where there is no room, less of it may still do: nobody is closed here. */
  if (!is_room_for(conn, capacity_for(input, more) - input->capacity) || !reserve(conn, more))
    return NULL;
  *room = more;
  return input->bytes + input->len;
}

static void await_from_now(struct input *input) {
  struct loop *loop = conn_loop(input->conn);
  list_remove(&input->awaited);
  input->since_ms = loop->worker.now_ms;
  list_append(&loop->awaited, &input->awaited);
}

void input_await(struct conn *conn, bool awaited) {
  struct input *input = conn->input;
  if (input == NULL) return;
  if (!awaited) {
    list_remove(&input->awaited);
  } else if (list_empty(&input->awaited)) {
    await_from_now(input);
  }
}

struct conn *input_late(struct loop *loop) {
  if (list_empty(&loop->awaited)) return NULL;
  const struct input *input = LIST_ENTRY(loop->awaited.next, struct input, awaited);
  return loop->worker.now_ms - input->since_ms >= INPUT_REQUEST_MS ? input->conn : NULL;
}

bool input_take(struct conn *conn, const char *data, size_t len, bool *whole) {
  struct input *input = conn->input;
  struct apart *apart = &input->apart;
  bool awaited = !list_empty(&input->awaited);
  if (awaited && resp_read_in_bulk(&input->reader, INPUT_LONG_BYTES)) await_from_now(input);
  *whole = true;
  if (is_on_its_way(apart)) {
    size_t missing = apart->len - apart->arrived, part = len < missing ? len : missing;
    if (!apart_take(conn, data, part)) return false;
    *whole = part == missing;
    if (*whole) tell_reader(input);
    data += part;
    len -= part;
  }
  if (data != input->bytes + input->len) return append(conn, data, len);
  input->len += len;
  return true;
}

bool input_consumed(struct conn *conn, size_t len) {
  struct input *input = conn->input;
  input->start += len;
  if (len > 0) apart_drop(conn);
  /* Forgotten, to be read once more: CLIENT PAUSE. */
  if (input->apart.len != 0 && resp_read_idle(&input->reader)) tell_reader(input);
  size_t stay;
  if (!apart_begin(conn, input->bytes + input->start, input->len - input->start, &stay))
    return false;
  input->len = input->start + stay;
  return true;
}

struct received_body *input_adopted(struct input *input) {
  struct apart *apart = &input->apart;
  return apart->len != 0 && !is_on_its_way(apart) ? &apart->body : NULL;
}
