/*
 * test_open_claims.c - the open claims are what a sorted array says they are, whatever comes, goes
 * and returns; walks stay short, anchors few, and nothing fails without memory for them.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <stdlib.h>

#include "server/engine/open_claims.h"

#define MOST 6000u
#define STEPS 60000u

/* ---- memory that can be refused ---- */

static struct { bool refused; } allocator;

void *__real_memory_take(struct memory *memory, size_t size);
void *__wrap_memory_take(struct memory *memory, size_t size);

void *__wrap_memory_take(struct memory *memory, size_t size) {
  return allocator.refused ? NULL : __real_memory_take(memory, size);
}

/* ---- the list, and what it should be ---- */

struct fixture {
  struct memory memory;
  struct slabs slabs;
  struct open_claims claims;
  struct record *records[MOST]; /* by token, all of them */
  size_t count;
  uint64_t next_token, seed;
};

static int set_up(void **state) {
  struct fixture *f = calloc(1, sizeof *f);
  if (f == NULL) return -1;
  allocator.refused = false;
  open_claims_init(&f->claims, &f->memory);
  slab_init(&f->slabs, &f->memory, 0);
  f->next_token = 1000;
  f->seed = UINT64_C(0x1234567887654321);
  *state = f;
  return 0;
}

static size_t random_below(struct fixture *f, size_t end) {
  f->seed ^= f->seed << 13;
  f->seed ^= f->seed >> 7;
  f->seed ^= f->seed << 17;
  return (size_t)(f->seed >> 11) % end;
}

/* Of the sorted array: the first with a token of at least so much. */
static size_t place_of(const struct fixture *f, uint64_t token) {
  size_t low = 0, high = f->count;
  while (low < high) {
    size_t middle = low + (high - low) / 2;
    if (f->records[middle]->token < token) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  return low;
}

static void add(struct fixture *f, uint64_t token, unsigned phase) {
  const struct rules_record facts = {.token = token, .phase = (uint8_t)phase, .attempt = 1};
  const struct record_parts parts = {.key = {KEY_RAW, SPAN_LITERAL("a key")}};
  bool refused = allocator.refused;
  allocator.refused = false; /* only anchors are */
  struct record *record = record_create(&f->slabs, &parts, &facts);
  allocator.refused = refused;
  assert_non_null(record);
  assert_true(f->count < MOST);
  size_t at = place_of(f, token);
  memmove(&f->records[at + 1], &f->records[at], (f->count - at) * sizeof f->records[0]);
  f->records[at] = record;
  f->count++;
  open_claims_add(&f->claims, record);
}

static void append(struct fixture *f, unsigned phase) { add(f, f->next_token++, phase); }

static void remove_at(struct fixture *f, size_t at) {
  struct record *record = f->records[at];
  open_claims_remove(&f->claims, record);
  record_free(&f->slabs, record);
  f->count--;
  memmove(&f->records[at], &f->records[at + 1], (f->count - at) * sizeof f->records[0]);
}

/* The record gets another token, which no other has. */
static void move_at(struct fixture *f, size_t at, uint64_t token) {
  struct record *record = f->records[at];
  open_claims_remove(&f->claims, record);
  f->count--;
  memmove(&f->records[at], &f->records[at + 1], (f->count - at) * sizeof f->records[0]);
  record->token = token;
  size_t to = place_of(f, token);
  memmove(&f->records[to + 1], &f->records[to], (f->count - to) * sizeof f->records[0]);
  f->records[to] = record;
  f->count++;
  open_claims_add(&f->claims, record);
}

static void change_at(struct fixture *f, size_t at, unsigned phase) {
  f->records[at]->phase = (uint8_t)phase;
  open_claims_changed(&f->claims, f->records[at]);
}

static int tear_down(void **state) {
  struct fixture *f = *state;
  while (f->count > 0) remove_at(f, f->count - 1);
  open_claims_deinit(&f->claims);
  assert_int_equal(f->memory.bytes, 0);
  free(f);
  return 0;
}

/* ---- comparing ---- */

static void assert_same_order(const struct fixture *f) {
  const struct record *record = open_claims_after(&f->claims, 0);
  for (size_t i = 0; i < f->count; i++) {
    assert_ptr_equal(record, f->records[i]);
    record = open_claims_next(&f->claims, record);
  }
  assert_null(record);
}

static void assert_finds_after(const struct fixture *f, uint64_t token) {
  size_t at = place_of(f, token + 1);
  const struct record *expected = at < f->count ? f->records[at] : NULL;
  assert_ptr_equal(open_claims_after(&f->claims, token), expected);
}

/* The oldest in a phase, or one before it if the answer was cut short. */
static void assert_oldest(struct fixture *f, enum rules_phase phase) {
  size_t at = 0;
  while (at < f->count && (f->records[at]->phase != phase)) at++;
  const struct record *oldest = at < f->count ? f->records[at] : NULL;
  const struct record *found = open_claims_oldest(&f->claims, phase, 0);
  for (size_t i = 0; found != oldest && i < MOST / OPEN_CLAIMS_LOOKED_AT + 1; i++) {
    assert_non_null(found);
    assert_true(oldest == NULL || found->token < oldest->token);
    found = open_claims_oldest(&f->claims, phase, 0);
  }
  assert_ptr_equal(found, oldest);
}

/* Tokens do not fall along the array, and records know whether they have an anchor. Returns the
 * longest way between two anchors. */
static size_t assert_anchors_are_sound(const struct fixture *f) {
  const struct open_claims *claims = &f->claims;
  size_t flagged = 0, holes = 0, way = 0, longest = 0;
  for (size_t i = 0; i < f->count; i++) {
    bool anchor = (f->records[i]->flags & RECORD_ANCHOR) != 0;
    way = anchor ? 0 : way + 1;
    flagged += anchor;
    if (way > longest) longest = way;
  }
  for (uint32_t i = 0; i < claims->count; i++) {
    const struct open_claims_anchor *anchor = &claims->anchors[i];
    if (i > 0) assert_true(claims->anchors[i - 1].token <= anchor->token);
    holes += anchor->record == NULL;
    if (anchor->record == NULL) continue;
    assert_int_equal(anchor->token, anchor->record->token);
    assert_true((anchor->record->flags & RECORD_ANCHOR) != 0);
  }
  assert_int_equal(holes, claims->holes);
  assert_int_equal(claims->count - holes, flagged);
  assert_true(2 * holes <= claims->count);
  assert_true(claims->count <= claims->capacity);
  return longest;
}

/* ---- random lives ---- */

struct habit {
  unsigned adds, removes, returns, changes; /* chances in a hundred; what is left looks */
  enum { ANY, OLDEST, NEWEST } removed;
  size_t most;
};

static const unsigned PHASES[] = {RULES_HELD, RULES_LAPSED, RULES_UNKNOWN};

static unsigned some_phase(struct fixture *f) { return PHASES[random_below(f, 3)]; }

static size_t some_place(struct fixture *f, const struct habit *habit) {
  if (habit->removed == OLDEST) return 0;
  return habit->removed == NEWEST ? f->count - 1 : random_below(f, f->count);
}

/* One that was elsewhere gets a token below the last, as when a grant is taken back, or the next
 * one; or a further one comes there. */
static void put_some_back(struct fixture *f) {
  uint64_t token = 1000 + random_below(f, (size_t)(f->next_token - 1000));
  size_t at = place_of(f, token);
  if (at < f->count && f->records[at]->token == token) {
    move_at(f, at, f->next_token++);
  } else if (random_below(f, 2) == 0) {
    move_at(f, random_below(f, f->count), token);
  } else {
    add(f, token, some_phase(f));
  }
}

static void look(struct fixture *f) {
  assert_finds_after(f, 990 + random_below(f, (size_t)(f->next_token - 980)));
  assert_oldest(f, RULES_HELD);
  assert_oldest(f, RULES_UNKNOWN);
}

static void step(struct fixture *f, const struct habit *habit) {
  size_t dice = random_below(f, 100);
  bool full = f->count >= habit->most, empty = f->count == 0;
  if (empty || (!full && dice < habit->adds)) {
    append(f, some_phase(f));
  } else if (full || dice < habit->adds + habit->removes) {
    remove_at(f, some_place(f, habit));
  } else if (dice < habit->adds + habit->removes + habit->returns) {
    put_some_back(f);
  } else if (dice < habit->adds + habit->removes + habit->returns + habit->changes) {
    change_at(f, random_below(f, f->count), some_phase(f));
  } else {
    look(f);
  }
}

static const struct habit HABITS[] = {
    {40, 37, 3, 10, ANY, MOST - 1000},
    {40, 40, 0, 10, OLDEST, MOST},
    {40, 40, 0, 10, NEWEST, MOST},
    {40, 38, 2, 10, OLDEST, MOST - 1000},
    {40, 38, 2, 10, NEWEST, MOST - 1000},
    {60, 25, 0, 5, ANY, 5000},
    {35, 55, 0, 5, ANY, 100},
    {20, 40, 25, 5, ANY, 3000},
};
#define HABIT_COUNT (sizeof HABITS / sizeof HABITS[0])

static void live(struct fixture *f, unsigned steps, size_t longest) {
  for (unsigned i = 0; i < steps; i++) {
    step(f, &HABITS[i / (steps / HABIT_COUNT) % HABIT_COUNT]);
    if (i % 500 != 0) continue;
    assert_same_order(f);
    size_t way = assert_anchors_are_sound(f);
    if (way > longest) fail_msg("%zu records without an anchor, after %u steps", way, i);
  }
}

static void they_are_in_the_order_of_tokens_whatever_comes_and_goes(void **state) {
  live(*state, STEPS, 2 * OPEN_CLAIMS_SPAN);
}

static void they_are_so_without_memory_for_anchors_too(void **state) {
  struct fixture *f = *state;
  for (unsigned i = 0; i < 40; i++) {
    allocator.refused = i % 2 == 0;
    live(f, STEPS / 40, MOST);
  }
}

/* ---- anchors ---- */

static void append_many(struct fixture *f, size_t count) {
  for (size_t i = 0; i < count; i++) append(f, RULES_HELD);
}

static void each_span_of_records_has_an_anchor(void **state) {
  struct fixture *f = *state;
  append_many(f, 20 * OPEN_CLAIMS_SPAN);
  assert_int_equal(f->claims.count, 20);
  assert_in_range(assert_anchors_are_sound(f), OPEN_CLAIMS_SPAN - 1, OPEN_CLAIMS_SPAN);
}

/* One at a time, there being others: the last one leaves before the next comes. */
static void anchors_stay_where_the_last_leaves_again_and_again(void **state) {
  struct fixture *f = *state;
  for (unsigned i = 0; i < MOST - 1; i++) {
    append(f, RULES_HELD);
    if (i % OPEN_CLAIMS_SPAN != OPEN_CLAIMS_SPAN - 1) continue;
    remove_at(f, f->count - 1);
  }
  assert_in_range(assert_anchors_are_sound(f), 1, OPEN_CLAIMS_SPAN + 2);
}

static void many_that_return_to_one_place_get_anchors(void **state) {
  struct fixture *f = *state;
  append_many(f, 10);
  f->next_token += 5000;
  append_many(f, 10);
  for (uint64_t token = 1010; token < 6000; token++) add(f, token, RULES_HELD);
  assert_same_order(f);
  assert_in_range(assert_anchors_are_sound(f), 1, 2 * OPEN_CLAIMS_SPAN);
}

static void where_few_are_left_anchors_become_few(void **state) {
  struct fixture *f = *state;
  for (unsigned kept = 1; kept <= 2000; kept++) {
    append_many(f, OPEN_CLAIMS_SPAN);
    while (f->count > kept) remove_at(f, f->count - 1);
  }
  uint32_t sparse = f->claims.count;
  append_many(f, 2000);
  assert_anchors_are_sound(f);
  if (sparse > 2000 / 8) fail_msg("%u anchors for 2000 records", sparse);
}

static void the_array_shrinks_with_the_list(void **state) {
  struct fixture *f = *state;
  append_many(f, MOST);
  size_t with_most = f->memory.bytes;
  while (f->count > 300) remove_at(f, 0);
  assert_true(f->claims.count < 8);
  append_many(f, OPEN_CLAIMS_SPAN);
  assert_true(f->claims.capacity <= 16);
  while (f->count > 0) remove_at(f, 0);
  assert_int_equal(f->memory.bytes, 0);
  assert_true(with_most > 0);
}

static void without_memory_the_next_record_tries_again(void **state) {
  struct fixture *f = *state;
  allocator.refused = true;
  append_many(f, 1000);
  assert_int_equal(f->claims.count, 0);
  assert_finds_after(f, 1500);
  allocator.refused = false;
  append_many(f, 1);
  assert_int_equal(f->claims.count, 1);
  assert_same_order(f);
}

/* ---- the oldest ---- */

static void the_oldest_is_found_in_bounded_steps(void **state) {
  struct fixture *f = *state;
  append_many(f, 1);
  for (unsigned i = 0; i < 3 * OPEN_CLAIMS_LOOKED_AT; i++) append(f, RULES_LAPSED);
  append(f, RULES_HELD);
  remove_at(f, 0);
  const struct record *oldest = f->records[f->count - 1];
  for (unsigned i = 1; i < 4; i++) {
    const struct record *found = open_claims_oldest(&f->claims, RULES_HELD, 0);
    assert_ptr_equal(found, i < 3 ? f->records[i * OPEN_CLAIMS_LOOKED_AT] : oldest);
  }
  assert_null(open_claims_oldest(&f->claims, RULES_UNKNOWN, 0));
}

static void a_flushed_one_is_not_the_oldest_until_it_is_revived(void **state) {
  struct fixture *f = *state;
  append_many(f, 3);
  uint64_t flushed_token = f->records[2]->token;
  assert_ptr_equal(open_claims_oldest(&f->claims, RULES_HELD, flushed_token), f->records[2]);
  f->records[1]->flags |= RECORD_REVIVED;
  open_claims_changed(&f->claims, f->records[1]);
  assert_ptr_equal(open_claims_oldest(&f->claims, RULES_HELD, flushed_token), f->records[1]);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(they_are_in_the_order_of_tokens_whatever_comes_and_goes),
      TEST(they_are_so_without_memory_for_anchors_too),
      TEST(each_span_of_records_has_an_anchor),
      TEST(anchors_stay_where_the_last_leaves_again_and_again),
      TEST(many_that_return_to_one_place_get_anchors),
      TEST(where_few_are_left_anchors_become_few),
      TEST(the_array_shrinks_with_the_list),
      TEST(without_memory_the_next_record_tries_again),
      TEST(the_oldest_is_found_in_bounded_steps),
      TEST(a_flushed_one_is_not_the_oldest_until_it_is_revived),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
