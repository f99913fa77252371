/* input.c - see input.h. */
#include "server/net/input.h"

#include <assert.h>
#include <stdlib.h>

#include "server/commands/argument_limits.h"

/* ---- the budget ---- */

void input_init_reader(struct resp_reader *reader, struct worker *worker) {
  resp_read_init(reader);
  reader->argument_limit = argument_limits_argument;
  reader->argument_name = argument_limits_name_argument;
  reader->context = worker;
  reader->unasked_bytes = worker->unasked_bytes;
  reader->command_limit = (size_t)worker->options->limits.body_bytes + INPUT_COMMAND_BYTES;
}

void input_budget_init(struct input_budget *budget, struct worker *worker) {
  *budget = (struct input_budget){
      .worker = worker,
      .held = &worker->instance->input_bytes,
      .limit = &worker->options->client_input_total,
  };
  list_init(&budget->awaited);
}

/* Whether all connections together may hold so much more. */
static bool is_room_for(const struct input_budget *budget, size_t more) {
  return atomic_load(budget->held) + more <= (uint64_t)*budget->limit;
}

/* ---- room ---- */

size_t input_size(const struct input *input) {
  return input != NULL ? input->capacity + input->body.capacity : 0;
}

static void give_back(struct input *input, size_t room) {
  atomic_fetch_sub(input->budget->held, room);
}

/* *bytes has a head and *room; now it gets room for `capacity`. */
static enum input_result grow(struct input *input, char **bytes, size_t head, size_t *room,
                              size_t capacity) {
  size_t more = capacity - *room;
  if (!is_room_for(input->budget, more)) return INPUT_OVER_BUDGET;
  atomic_fetch_add(input->budget->held, more);
  char *grown = realloc(*bytes, head + capacity);
  if (grown == NULL) {
    give_back(input, more);
    return INPUT_NO_MEMORY;
  }
  *bytes = grown;
  *room = capacity;
  return INPUT_OK;
}

/* The capacity with which there is room for `more` bytes after those that are valid. */
static size_t capacity_for(const struct input *input, size_t more) {
  size_t wanted = input->len - input->start + more, doubled = input->capacity * 2;
  if (wanted <= input->capacity) return input->capacity;
  return doubled < wanted ? wanted : doubled;
}

static enum input_result reserve(struct input *input, size_t more) {
  if (input->start > 0) {
    memmove(input->bytes, input->bytes + input->start, input->len - input->start);
    input->len -= input->start;
    input->start = 0;
  }
  size_t capacity = capacity_for(input, more);
  if (capacity == input->capacity) return INPUT_OK;
  return grow(input, &input->bytes, 0, &input->capacity, capacity);
}

static enum input_result append(struct input *input, const char *data, size_t len) {
  if (len == 0) return INPUT_OK;
  enum input_result result = reserve(input, len);
  if (result != INPUT_OK) return result;
  memcpy(input->bytes + input->len, data, len);
  input->len += len;
  return INPUT_OK;
}

/* ---- bodies ---- */

static bool is_on_its_way(const struct input_body *body) { return body->arrived < body->len; }

static char *bytes_of(const struct input_body *body) {
  return body->received.adopted.bytes + ADOPTED_BODY_HEAD_BYTES;
}

static void body_drop(struct input *input) {
  struct input_body *body = &input->body;
  if (body->len == 0) return;
  give_back(input, body->capacity);
  received_body_release(input->budget->worker, &body->received);
  *body = (struct input_body){0};
}

/* The next bytes of the body; `data` may already be in place. */
static enum input_result body_take(struct input *input, const char *data, size_t len) {
  struct input_body *body = &input->body;
  size_t arrived = body->arrived + len;
  assert(arrived <= body->len);
  if (len == 0) return INPUT_OK;
  if (arrived > body->capacity) {
    size_t capacity = 2 * arrived < body->len ? 2 * arrived : body->len;
    enum input_result result = grow(input, &body->received.adopted.bytes, ADOPTED_BODY_HEAD_BYTES,
                                    &body->capacity, capacity);
    if (result != INPUT_OK) return result;
  }
  char *to = bytes_of(body) + body->arrived;
  if (data != to) memcpy(to, data, len);
  body->arrived = arrived;
  return INPUT_OK;
}

/* All of the body has arrived. */
static void tell_reader(struct input *input) {
  const struct input_body *body = &input->body;
  assert(body->arrived == body->len && body->capacity == body->len);
  resp_read_adopted(&input->reader, body->at, bytes_of(body));
}

/*
 * Begins an adopted body, if the first command has one that is incomplete and will be kept. Sets
 * *stay to how many of the bytes are then left: what is after them was the body's.
 */
static enum input_result adopt(struct input *input, struct span bytes, size_t *stay) {
  size_t at = 0, bulk = resp_read_bulk(&input->reader, bytes.data, &at);
  *stay = bytes.len;
  if (bulk < INPUT_ADOPTED_BYTES || bytes.len - at >= bulk || input->body.len != 0) return INPUT_OK;
  if (!argument_limits_is_adoptable(input->budget->worker, input->reader.argv, input->reader.argc))
    return INPUT_OK;
  input->body = (struct input_body){.len = bulk, .at = at};
  *stay = at;
  return body_take(input, bytes.data + at, bytes.len - at);
}

/* ---- input ---- */

void input_destroy(struct input *input) {
  if (input == NULL) return;
  body_drop(input);
  list_remove(&input->awaited);
  give_back(input, input->capacity);
  resp_read_deinit(&input->reader);
  free(input->bytes);
  free(input);
}

/* A reader that is idle keeps its vector for the next connection. */
static void take_reader(struct input *input, struct resp_reader *reader) {
  struct worker *worker = input->budget->worker;
  if (resp_read_idle(reader)) {
    input_init_reader(&input->reader, worker);
  } else {
    input->reader = *reader;
    input_init_reader(reader, worker);
  }
}

enum input_result input_keep(struct input **input, struct input_budget *budget,
                             struct resp_reader *reader, struct span bytes) {
  struct input *made = *input = calloc(1, sizeof *made);
  if (made == NULL) return INPUT_NO_MEMORY;
  made->budget = budget;
  list_init(&made->awaited);
  take_reader(made, reader);
  size_t stay;
  enum input_result result = adopt(made, bytes, &stay);
  return result == INPUT_OK ? append(made, bytes.data, stay) : result;
}

char *input_room(struct input *input, size_t *room) {
  *room = 0;
  if (is_on_its_way(&input->body)) {
    *room = input->body.capacity - input->body.arrived;
    return *room > 0 ? bytes_of(&input->body) + input->body.arrived : NULL;
  }
  /* Another long argument is read to where it will be parsed. Not more at a time than doubles what
   * has arrived, so that a mere announcement costs nothing. */
  size_t have = input->len - input->start, need = input->reader.need;
  if (need <= have + INPUT_READ_BYTES) return NULL;
  size_t more = need - have < have ? need - have : have;
  if (more < INPUT_READ_BYTES) return NULL;
  /* Without room for that much, a smaller amount may still fit: no connection is closed here. */
  if (!is_room_for(input->budget, capacity_for(input, more) - input->capacity) ||
      reserve(input, more) != INPUT_OK)
    return NULL;
  *room = more;
  return input->bytes + input->len;
}

static void await_from_now(struct input *input) {
  struct input_budget *budget = input->budget;
  list_remove(&input->awaited);
  input->since_ms = budget->worker->monotonic_ms;
  list_append(&budget->awaited, &input->awaited);
}

void input_await(struct input *input, bool awaited) {
  if (!awaited) {
    list_remove(&input->awaited);
  } else if (list_empty(&input->awaited)) {
    await_from_now(input);
  }
}

struct input *input_late(const struct input_budget *budget) {
  if (list_empty(&budget->awaited)) return NULL;
  struct input *input = LIST_ENTRY(budget->awaited.next, struct input, awaited);
  return budget->worker->monotonic_ms - input->since_ms >= INPUT_REQUEST_MS ? input : NULL;
}

/* The body's part of the bytes; what comes after it stays in *bytes. *whole: all of it has
 * arrived. */
static enum input_result take_part(struct input *input, struct span *bytes, bool *whole) {
  const struct input_body *body = &input->body;
  size_t missing = body->len - body->arrived, part = bytes->len < missing ? bytes->len : missing;
  enum input_result result = body_take(input, bytes->data, part);
  if (result != INPUT_OK) return result;
  *whole = part == missing;
  if (*whole) tell_reader(input);
  *bytes = (struct span){bytes->data + part, bytes->len - part};
  return INPUT_OK;
}

enum input_result input_take(struct input *input, struct span bytes, bool *whole) {
  bool awaited = !list_empty(&input->awaited);
  if (awaited && resp_read_in_bulk(&input->reader, INPUT_LONG_BYTES)) await_from_now(input);
  *whole = true;
  if (is_on_its_way(&input->body)) {
    enum input_result result = take_part(input, &bytes, whole);
    if (result != INPUT_OK) return result;
  }
  if (bytes.data != input->bytes + input->len) return append(input, bytes.data, bytes.len);
  input->len += bytes.len; /* they were read to input_room */
  return INPUT_OK;
}

enum input_result input_consumed(struct input *input, size_t len) {
  input->start += len;
  if (len > 0) body_drop(input);
  /* The reader has forgotten the command, to read it again (CLIENT PAUSE). */
  if (input->body.len != 0 && resp_read_idle(&input->reader)) tell_reader(input);
  size_t stay;
  enum input_result result = adopt(input, input_bytes(input), &stay);
  if (result == INPUT_OK) input->len = input->start + stay;
  return result;
}

bool input_is_empty(const struct input *input) {
  return input->start == input->len && resp_read_idle(&input->reader);
}

struct received_body *input_adopted(struct input *input) {
  struct input_body *body = &input->body;
  return body->len != 0 && !is_on_its_way(body) ? &body->received : NULL;
}
