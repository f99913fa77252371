/*
 * print_model.c - the rules as a table in Promela: every state and event of a small domain is asked
 * of rules.c, and what it did is printed, so that the table cannot disagree with the code.
 *
 *     print_model [--mutant NAME]      prints proto/model/rules.pml, or what it would be
 *     print_model --mutants            prints NAME and PROMISE of each mutant
 *
 * A row of the domain is a value for each variable (the phase, is the token the current one, ...);
 * the answer is, for each field of the record, the set of assignments that explain what happened
 * ("attempt = 1" and "attempt = attempt + 1" both do after 0). Rows are merged as long as one
 * assignment for each field explains all of them: so variables that do not matter disappear.
 * Rows that cannot be (LAPSED after HOLD, ...) may join any. The printed guards exclude each other.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/explore/mutants.h"

/* ---- variables: what a row is made of ---- */

enum variable {
  PHASE,
  FINGERPRINT,
  OWNER,
  TOKEN,
  NOBODY,
  SAME_BYTES,
  KEPT,
  WORD,
  END,
  CLAIM_WAITS,
  TAKEOVER,
  FORGOTTEN,
  NO_GRANTS,
  DIFFERS,
  CLOSED,
  OVER,
  ATTEMPT,
  HOLD,
  BIND,
  CLAIM_HOLD,
  CLAIM_BIND,
  VARIABLES
};

#define MOST_VALUES 5

/* What is printed when the variable has the value. */
static const char *const VALUES[VARIABLES][MOST_VALUES + 1] = {
    [PHASE] = {"phase == ABSENT", "phase == HELD", "phase == LAPSED", "phase == UNKNOWN",
               "phase == DONE"},
    [FINGERPRINT] = {"!fingerprint_matches", "fingerprint_matches"},
    [OWNER] = {"!owner_matches", "owner_matches"},
    [TOKEN] = {"with != token", "with == token"},
    [NOBODY] = {"!nobody", "nobody"},
    [SAME_BYTES] = {"!same_bytes", "same_bytes"},
    [KEPT] = {"!kept", "kept"},
    [WORD] = {"word == DID_NOTHING", "word == UNSURE", "word == CLEAR"},
    [END] = {"end == LEASE_OVER", "end == BIND_CLOSED", "end == SAID_UNSURE", "end == RELEASED",
             "end == CLEARED"},
    [CLAIM_WAITS] = {"!claim_waits", "claim_waits"},
    [TAKEOVER] = {"takeover == 0", "takeover != 0 && takeover != token", "takeover == token"},
    [FORGOTTEN] = {"!forgotten", "forgotten"},
    [NO_GRANTS] = {"!no_grants", "no_grants"},
    [DIFFERS] = {"!fingerprint_differs", "fingerprint_differs"},
    [CLOSED] = {"!closed", "closed"},
    [OVER] = {"!over", "over"},
    [ATTEMPT] = {"attempt == 1", "attempt > 1"},
    [HOLD] = {"!hold", "hold"},
    [BIND] = {"!bind", "bind"},
    [CLAIM_HOLD] = {"!claim_hold", "claim_hold"},
    [CLAIM_BIND] = {"!claim_bind", "claim_bind"},
};

static unsigned count_of(enum variable variable) {
  unsigned count = 0;
  while (VALUES[variable][count] != NULL) count++;
  return count;
}

/* ---- fields: what happened ---- */

enum field {
  VERDICT,
  DUE,
  AFTER,
  END_SET,
  PHASE_SET,
  TOKEN_SET,
  ATTEMPT_SET,
  HOLD_SET,
  BIND_SET,
  NOBODY_SET,
  SINCE_SET,
  UNTIL_SET,
  FIELDS
};

#define MOST_ASSIGNMENTS 22

/* In the order of preference; an empty one is no assignment. Of VERDICT, DUE, AFTER, END_SET and
 * PHASE_SET the order is that of the enums. */
static const char *const ASSIGNMENTS[FIELDS][MOST_ASSIGNMENTS + 1] = {
    [VERDICT] = {"verdict = GRANT_FIRST",    "verdict = GRANT_NEXT",    "verdict = GRANT_AGAIN",
                 "verdict = NO_GRANT",       "verdict = SAY_FORGOTTEN", "verdict = SAY_BUSY",
                 "verdict = SAY_LAPSED",     "verdict = SAY_UNKNOWN",   "verdict = SAY_DONE",
                 "verdict = SAY_NOTHING",    "verdict = MISMATCH",      "verdict = STORED",
                 "verdict = SHARED",         "verdict = SAME_STORED",   "verdict = CONFLICT",
                 "verdict = RENEWED",        "verdict = RELEASE",       "verdict = LEFT_AS_IT_IS",
                 "verdict = NOT_YOURS",      "verdict = STALE_ABSENT",  "verdict = STALE_STORED",
                 "verdict = STALE_OVERTAKEN"},
    [DUE] = {"verdict = NOT_DUE", "verdict = DUE_LEASE_OVER", "verdict = DUE_BIND_CLOSED",
             "verdict = DUE_GONE"},
    [AFTER] = {"after = HAND_OVER", "after = TO_LAPSED", "after = TO_UNKNOWN", "after = TO_ABSENT"},
    [END_SET] = {"ends_as = LEASE_OVER", "ends_as = BIND_CLOSED", "ends_as = SAID_UNSURE",
                 "ends_as = RELEASED", "ends_as = CLEARED"},
    [PHASE_SET] = {"", "phase = ABSENT", "phase = HELD", "phase = LAPSED", "phase = UNKNOWN",
                   "phase = DONE"},
    [TOKEN_SET] = {"", "token = new_token"},
    [ATTEMPT_SET] = {"", "attempt = 1", "attempt = attempt + 1", "attempt = attempt - 1"},
    [HOLD_SET] = {"", "hold = false", "hold = claim_hold", "hold = hold || claim_hold"},
    [BIND_SET] = {"", "bind = false", "bind = claim_bind"},
    [NOBODY_SET] = {"", "nobody = false", "nobody = true"},
    [SINCE_SET] = {"", "since = now"},
    [UNTIL_SET] = {"", "until = LEASE", "until = RETENTION", "until = TTL", "until = NEVER"},
};

/* Which assignments explain what was seen: a bit for each. */
struct outcome {
  uint32_t may_be[FIELDS];
};

#define ANY UINT32_MAX

static bool agree(struct outcome *all, const struct outcome *one) {
  bool some = true;
  for (size_t f = 0; f < FIELDS; f++) {
    all->may_be[f] &= one->may_be[f];
    some &= all->may_be[f] != 0;
  }
  return some;
}

/* ---- the rules are asked ---- */

#define NOW 2000
#define LEASE 70u
#define RETENTION 500000
#define TTL 30000
#define OLD_TOKEN 50
#define NEW_TOKEN 60
/* What a variable does not tell apart: each is asked, and all have to agree. */
#define SAMPLES 3
static const uint32_t LATER_ATTEMPTS[SAMPLES] = {2, 3, 7};
static const uint64_t USED_UP_TOKENS[SAMPLES] = {49, 48, 3};

struct row {
  unsigned of[VARIABLES];
};

struct sample {
  const struct world_rules *rules;
  const struct row *row;
  struct rules_record before;
  struct rules_claim claim;
  uint64_t with;
};

static struct rules_record record_of(const struct row *row, size_t sample) {
  static const int64_t DEADLINES[] = {0, NOW + 5, NOW + 7000, RULES_NEVER, NOW + 9000};
  if (row->of[PHASE] == RULES_ABSENT) return (struct rules_record){0};
  return (struct rules_record){.token = OLD_TOKEN,
                               .since_ms = 100,
                               .deadline_ms = DEADLINES[row->of[PHASE]],
                               .lease_ms = 60,
                               .attempt = row->of[ATTEMPT] ? LATER_ATTEMPTS[sample] : 1,
                               .phase = (uint8_t)row->of[PHASE],
                               .hold = row->of[HOLD],
                               .bind = row->of[BIND],
                               .nobody = row->of[NOBODY]};
}

static struct sample sample_of(const struct world_rules *rules, const struct row *row,
                               size_t sample) {
  const uint64_t used_up = USED_UP_TOKENS[sample];
  const uint64_t takeovers[] = {0, used_up, OLD_TOKEN};
  return (struct sample){.rules = rules,
                         .row = row,
                         .before = record_of(row, sample),
                         .with = row->of[TOKEN] ? OLD_TOKEN : used_up,
                         .claim = {.fingerprint_matches = row->of[FINGERPRINT],
                                   .owner_matches = row->of[OWNER],
                                   .hold = row->of[CLAIM_HOLD],
                                   .bind = row->of[CLAIM_BIND],
                                   .forgotten = row->of[FORGOTTEN],
                                   .no_grants = row->of[NO_GRANTS],
                                   .lease_ms = LEASE,
                                   .takeover = takeovers[row->of[TAKEOVER]],
                                   .token = NEW_TOKEN}};
}

static uint32_t bit_if(bool explains, unsigned bit) { return explains ? 1u << bit : 0; }

static uint32_t explain_attempt(const struct rules_record *a, const struct rules_record *b) {
  return bit_if(b->attempt == a->attempt, 0) | bit_if(b->attempt == 1, 1) |
         bit_if(b->attempt == a->attempt + 1, 2) | bit_if(b->attempt + 1 == a->attempt, 3);
}

static uint32_t explain_until(const struct rules_record *a, const struct rules_record *b) {
  return bit_if(b->deadline_ms == a->deadline_ms, 0) | bit_if(b->deadline_ms == NOW + LEASE, 1) |
         bit_if(b->deadline_ms == NOW + RETENTION, 2) | bit_if(b->deadline_ms == NOW + TTL, 3) |
         bit_if(b->deadline_ms == RULES_NEVER, 4);
}

/* Of a record that is ABSENT nothing but that is told. */
static struct outcome explain(const struct sample *s, const struct rules_record *b) {
  const struct rules_record *a = &s->before;
  const struct rules_claim *c = &s->claim;
  struct outcome o;
  for (size_t f = 0; f < FIELDS; f++) o.may_be[f] = ANY;
  o.may_be[PHASE_SET] = bit_if(a->phase == b->phase, 0) | 1u << (b->phase + 1);
  if (b->phase == RULES_ABSENT) return o;
  o.may_be[ATTEMPT_SET] = explain_attempt(a, b);
  o.may_be[UNTIL_SET] = explain_until(a, b);
  o.may_be[TOKEN_SET] = bit_if(b->token == a->token, 0) | bit_if(b->token == NEW_TOKEN, 1);
  o.may_be[SINCE_SET] = bit_if(b->since_ms == a->since_ms, 0) | bit_if(b->since_ms == NOW, 1);
  o.may_be[HOLD_SET] = bit_if(b->hold == a->hold, 0) | bit_if(!b->hold, 1) |
                       bit_if(b->hold == c->hold, 2) | bit_if(b->hold == (a->hold || c->hold), 3);
  o.may_be[BIND_SET] =
      bit_if(b->bind == a->bind, 0) | bit_if(!b->bind, 1) | bit_if(b->bind == c->bind, 2);
  o.may_be[NOBODY_SET] =
      bit_if(b->nobody == a->nobody, 0) | bit_if(!b->nobody, 1) | bit_if(b->nobody, 2);
  return o;
}

static struct outcome ask_claim(const struct sample *s) {
  struct rules_record r = s->before;
  enum rules_verdict verdict = s->rules->claim(&r, &s->claim, NOW);
  struct outcome o = explain(s, &r);
  o.may_be[VERDICT] = 1u << verdict;
  return o;
}

static struct outcome ask_read(const struct sample *s) {
  struct outcome o = explain(s, &s->before);
  o.may_be[VERDICT] = 1u << s->rules->read(&s->before, s->row->of[DIFFERS]);
  return o;
}

static struct outcome ask_store(const struct sample *s) {
  struct rules_record r = s->before;
  const struct rules_store store = {
      .token = s->with, .same_bytes = s->row->of[SAME_BYTES], .ttl_ms = s->row->of[KEPT] ? TTL : 0};
  enum rules_verdict verdict = s->rules->store(&r, &store, NOW);
  struct outcome o = explain(s, &r);
  o.may_be[VERDICT] = 1u << verdict;
  return o;
}

static struct outcome ask_renew(const struct sample *s) {
  struct rules_record r = s->before;
  enum rules_verdict verdict = s->rules->renew(&r, s->with, LEASE, NOW);
  struct outcome o = explain(s, &r);
  o.may_be[VERDICT] = 1u << verdict;
  return o;
}

static struct outcome ask_release(const struct sample *s) {
  enum rules_end end = RULES_END_CLEARED;
  enum rules_word word = (enum rules_word)s->row->of[WORD];
  enum rules_verdict verdict = s->rules->release(&s->before, s->with, word, &end);
  struct outcome o = explain(s, &s->before);
  o.may_be[VERDICT] = 1u << verdict;
  if (verdict == RULES_RELEASE) o.may_be[END_SET] = 1u << end;
  return o;
}

static struct outcome ask_end_grant(const struct sample *s) {
  struct rules_record r = s->before;
  const struct rules_ending ending = {.end = (enum rules_end)s->row->of[END],
                                      .claim_waits = s->row->of[CLAIM_WAITS],
                                      .at_ms = NOW,
                                      .retention_ms = RETENTION,
                                      .token = NEW_TOKEN};
  enum rules_after after = s->rules->end_grant(&r, &ending);
  struct outcome o = explain(s, &r);
  o.may_be[AFTER] = 1u << after;
  return o;
}

static struct outcome ask_hand_over(const struct sample *s) {
  struct rules_record r = s->before;
  enum rules_end end = (enum rules_end)s->row->of[END];
  enum rules_verdict verdict = s->rules->hand_over(&r, end, &s->claim, NOW);
  struct outcome o = explain(s, &r);
  o.may_be[VERDICT] = 1u << verdict;
  return o;
}

/* closed: before the lease ended, and not later than now. */
static struct outcome ask_due(const struct sample *s) {
  struct rules_record r = s->before;
  r.deadline_ms = s->row->of[OVER] ? NOW : NOW + 1;
  int64_t closed_ms = s->row->of[CLOSED] ? NOW - 1 : RULES_NEVER;
  struct outcome o = explain(s, &s->before);
  o.may_be[DUE] = 1u << s->rules->due(&r, closed_ms, (struct rules_moment){NOW, 0});
  return o;
}

/* ---- which rows can be ---- */

static bool record_can_be(const struct row *row) {
  const unsigned phase = row->of[PHASE];
  if (row->of[NOBODY] && (phase == RULES_HELD || phase == RULES_DONE)) return false;
  if (phase == RULES_LAPSED) return !row->of[HOLD];
  return phase != RULES_UNKNOWN || row->of[HOLD];
}

/* Whether rules_end_grant keeps a HOLD, so that nobody is granted. */
static bool keeps_hold(const struct row *row) {
  if (!row->of[HOLD] || row->of[END] == RULES_END_CLEARED) return false;
  return row->of[END] != RULES_END_RELEASED || row->of[ATTEMPT];
}

static bool end_can_be(const struct row *row) {
  const unsigned phase = row->of[PHASE], end = row->of[END];
  if (!record_can_be(row) || phase == RULES_ABSENT || phase == RULES_DONE) return false;
  if (phase != RULES_HELD && (end < RULES_END_RELEASED || row->of[CLAIM_WAITS])) return false;
  return end != RULES_END_RELEASED || !row->of[NOBODY];
}

static bool hand_over_can_be(const struct row *row) {
  return row->of[PHASE] == RULES_HELD && record_can_be(row) && !keeps_hold(row);
}

/* ---- tables ---- */

#define MOST_VARIABLES 12

struct table {
  const char *heading; /* a comment, and the line of the inline */
  enum variable variables[MOST_VARIABLES];
  size_t count;
  bool (*can_be)(const struct row *);
  struct outcome (*ask)(const struct sample *);
};

static const struct table TABLES[] = {
    {"/* CLAIM. takeover, new_token: tokens. */\n"
     "inline rules_claim(fingerprint_matches, owner_matches, claim_hold, claim_bind, takeover,\n"
     "                   forgotten, no_grants, new_token) {\n",
     {PHASE, FINGERPRINT, OWNER, TAKEOVER, FORGOTTEN, NO_GRANTS, NOBODY, ATTEMPT, HOLD, BIND,
      CLAIM_HOLD, CLAIM_BIND},
     12,
     record_can_be,
     ask_claim},
    {"/* FETCH, WAIT. */\n"
     "inline rules_read(fingerprint_differs) {\n",
     {PHASE, DIFFERS, NOBODY, ATTEMPT, HOLD, BIND},
     6,
     record_can_be,
     ask_read},
    {"/* STORE. with: the token that it brings; kept: with a TTL above 0. */\n"
     "inline rules_store(with, same_bytes, kept) {\n",
     {PHASE, TOKEN, SAME_BYTES, KEPT, NOBODY, ATTEMPT, HOLD, BIND},
     8,
     record_can_be,
     ask_store},
    {"/* RENEW. */\n"
     "inline rules_renew(with) {\n",
     {PHASE, TOKEN, NOBODY, ATTEMPT, HOLD, BIND},
     6,
     record_can_be,
     ask_renew},
    {"/* RELEASE. When the verdict is RELEASE, rules_end_grant(ends_as, ...) follows. */\n"
     "inline rules_release(with, word) {\n",
     {PHASE, TOKEN, NOBODY, WORD, ATTEMPT, HOLD, BIND},
     7,
     record_can_be,
     ask_release},
    {"/* The grant ends, or is released or cleared after its end. claim_waits: one is queued. */\n"
     "inline rules_end_grant(end, claim_waits, new_token) {\n",
     {PHASE, END, CLAIM_WAITS, ATTEMPT, HOLD, NOBODY, BIND},
     7,
     end_can_be,
     ask_end_grant},
    {"/* After HAND_OVER: to the oldest CLAIM that waits. */\n"
     "inline rules_hand_over(end, claim_hold, claim_bind, forgotten, new_token) {\n",
     {PHASE, END, ATTEMPT, FORGOTTEN, HOLD, NOBODY, BIND, CLAIM_HOLD, CLAIM_BIND},
     9,
     hand_over_can_be,
     ask_hand_over},
    {"/* Time. over: `until` has come; closed: its connection was closed before that. */\n"
     "inline rules_due(closed, over) {\n",
     {PHASE, CLOSED, OVER, ATTEMPT, HOLD, NOBODY, BIND},
     7,
     record_can_be,
     ask_due},
};

/* ---- merging ---- */

#define MOST_ROWS 32768

struct merger {
  const struct world_rules *rules;
  const struct table *table;
  bool printed[MOST_ROWS];
};

/* Rows by number: mixed radix, the first variable counts most. */
static size_t rows_of(const struct table *table) {
  size_t rows = 1;
  for (size_t i = 0; i < table->count; i++) rows *= count_of(table->variables[i]);
  return rows;
}

static struct row row_at(const struct table *table, size_t index) {
  struct row row = {{0}};
  for (size_t i = table->count; i-- > 0;) {
    unsigned count = count_of(table->variables[i]);
    row.of[table->variables[i]] = (unsigned)(index % count);
    index /= count;
  }
  return row;
}

/* A set of values for each variable. */
struct cube {
  unsigned masks[VARIABLES];
};

static bool contains(const struct table *table, const struct cube *cube, const struct row *row) {
  for (size_t i = 0; i < table->count; i++) {
    enum variable v = table->variables[i];
    if (!(cube->masks[v] >> row->of[v] & 1)) return false;
  }
  return true;
}

static bool ask_row(const struct merger *m, const struct row *row, struct outcome *all) {
  for (size_t sample = 0; sample < SAMPLES; sample++) {
    struct sample s = sample_of(m->rules, row, sample);
    struct outcome one = m->table->ask(&s);
    if (!agree(all, &one)) return false;
  }
  return true;
}

/* Whether one assignment for each field explains all rows, none of which was printed. */
static bool is_one(const struct merger *m, const struct cube *cube, struct outcome *all) {
  const size_t rows = rows_of(m->table);
  for (size_t f = 0; f < FIELDS; f++) all->may_be[f] = ANY;
  for (size_t i = 0; i < rows; i++) {
    struct row row = row_at(m->table, i);
    if (!contains(m->table, cube, &row) || !m->table->can_be(&row)) continue;
    if (m->printed[i] || !ask_row(m, &row, all)) return false;
  }
  return true;
}

static bool widen(const struct merger *m, struct cube *cube, enum variable v, unsigned mask) {
  struct cube wider = *cube;
  struct outcome outcome;
  wider.masks[v] |= mask;
  if (!is_one(m, &wider, &outcome)) return false;
  *cube = wider;
  return true;
}

/* Whether a row that can be has the value. */
static bool occurs(const struct merger *m, const struct cube *cube, enum variable v,
                   unsigned value) {
  struct cube part = *cube;
  part.masks[v] = 1u << value;
  for (size_t i = 0; i < rows_of(m->table); i++) {
    struct row row = row_at(m->table, i);
    if (contains(m->table, &part, &row) && m->table->can_be(&row)) return true;
  }
  return false;
}

static struct cube cube_around(const struct merger *m, const struct row *row) {
  struct cube cube = {{0}};
  const struct table *table = m->table;
  for (size_t i = 0; i < table->count; i++)
    cube.masks[table->variables[i]] = 1u << row->of[table->variables[i]];
  for (size_t i = table->count; i-- > 0;) {
    enum variable v = table->variables[i];
    const unsigned count = count_of(v);
    if (widen(m, &cube, v, (1u << count) - 1)) continue;
    for (unsigned value = 0; value < count; value++)
      if (occurs(m, &cube, v, value)) widen(m, &cube, v, 1u << value);
  }
  return cube;
}

/* ---- printing ---- */

struct page {
  size_t column;
};

#define MOST_COLUMNS 96

/* A line that grows too long is broken between two parts. */
static void print_part(struct page *page, const char *between, const char *part) {
  if (page->column + strlen(between) + strlen(part) > MOST_COLUMNS) {
    printf("%s\n     %s", between, part);
    page->column = 5 + strlen(part);
    return;
  }
  printf("%s%s%s", between, between[0] == '\0' ? "" : " ", part);
  page->column += strlen(between) + 1 + strlen(part);
}

/* The sets of values that have a name. */
static const char *name_of(enum variable v, unsigned mask) {
  if (v == TAKEOVER && mask == 3) return "takeover != token";
  if (v != PHASE) return NULL;
  if (mask == (1u << RULES_HELD | 1u << RULES_LAPSED | 1u << RULES_UNKNOWN)) return "is_open";
  if (mask == (1u << RULES_LAPSED | 1u << RULES_UNKNOWN)) return "has_ended";
  return mask == 31 - (1u << RULES_ABSENT) ? "phase != ABSENT" : NULL;
}

#define TEXT 200

static void values_text(enum variable v, unsigned mask, char text[TEXT]) {
  const bool several = (mask & (mask - 1)) != 0;
  const char *name = name_of(v, mask), *between = several ? "(" : "";
  size_t used = 0;
  if (name != NULL) {
    snprintf(text, TEXT, "%s", name);
    return;
  }
  for (unsigned value = 0; value < count_of(v); value++) {
    if (!(mask >> value & 1)) continue;
    used += (size_t)snprintf(text + used, TEXT - used, "%s%s", between, VALUES[v][value]);
    between = " || ";
  }
  snprintf(text + used, TEXT - used, "%s", several ? ")" : "");
}

static void print_guard(const struct table *table, const struct cube *cube) {
  struct page page = {5};
  const char *between = "";
  printf("  :: ");
  for (size_t i = 0; i < table->count; i++) {
    enum variable v = table->variables[i];
    char text[TEXT];
    if (cube->masks[v] == (1u << count_of(v)) - 1) continue;
    values_text(v, cube->masks[v], text);
    print_part(&page, between, text);
    between = " &&";
  }
  printf(" ->\n");
}

static void print_assignments(const struct outcome *outcome) {
  struct page page = {5};
  const char *between = "";
  printf("     ");
  for (size_t f = 0; f < FIELDS; f++) {
    unsigned choice = 0;
    if (outcome->may_be[f] == ANY) continue;
    if (outcome->may_be[f] == 0) {
      fprintf(stderr, "print_model: no assignment explains a row\n");
      exit(1);
    }
    while (!(outcome->may_be[f] >> choice & 1)) choice++;
    if (ASSIGNMENTS[f][choice][0] == '\0') continue;
    print_part(&page, between, ASSIGNMENTS[f][choice]);
    between = ";";
  }
  printf("\n");
}

static void print_cube(const struct merger *m, const struct cube *cube) {
  struct outcome outcome;
  is_one(m, cube, &outcome);
  print_guard(m->table, cube);
  print_assignments(&outcome);
}

static void print_table(const struct world_rules *rules, const struct table *table) {
  static const struct merger NONE = {0};
  struct merger *m = malloc(sizeof *m);
  if (m == NULL) exit(2);
  *m = NONE;
  m->rules = rules;
  m->table = table;
  printf("\n%s  if\n", table->heading);
  for (size_t i = 0; i < rows_of(table); i++) {
    struct row row = row_at(table, i);
    if (m->printed[i] || !table->can_be(&row)) continue;
    struct cube cube = cube_around(m, &row);
    print_cube(m, &cube);
    for (size_t j = i; j < rows_of(table); j++) {
      struct row other = row_at(table, j);
      if (contains(table, &cube, &other) && table->can_be(&other)) m->printed[j] = true;
    }
  }
  printf("  fi\n}\n");
  free(m);
}

static const char HEADING[] =
    "/*\n"
    " * rules.pml - the contract's table of events: (record, request) -> verdict and record.\n"
    " *\n"
    " * Printed by tests/explore/print_model.c, which asks server/rules/rules.c; not to be "
    "edited.\n"
    " * The guards of a table exclude each other; what is not assigned stays. Conditions that do\n"
    " * not matter are left out. contract.pml says who asks.\n"
    " */\n"
    "#define is_open (phase == HELD || phase == LAPSED || phase == UNKNOWN)\n"
    "#define has_ended (phase == LAPSED || phase == UNKNOWN)\n"
    "\n"
    "mtype = {ABSENT, HELD, LAPSED, UNKNOWN, DONE}; /* phases */\n"
    "mtype = {LEASE, RETENTION, TTL, NEVER}; /* how long a phase lasts */\n"
    "mtype = {GRANT_FIRST, GRANT_NEXT, GRANT_AGAIN, NO_GRANT, SAY_FORGOTTEN, SAY_BUSY, "
    "SAY_LAPSED,\n"
    "         SAY_UNKNOWN, SAY_DONE, SAY_NOTHING, MISMATCH, STORED, SHARED, SAME_STORED, "
    "CONFLICT,\n"
    "         RENEWED, RELEASE, LEFT_AS_IT_IS, NOT_YOURS, STALE_ABSENT, STALE_STORED,\n"
    "         STALE_OVERTAKEN, NOT_DUE, DUE_LEASE_OVER, DUE_BIND_CLOSED, DUE_GONE}; /* verdicts "
    "*/\n"
    "mtype = {DID_NOTHING, UNSURE, CLEAR}; /* words of RELEASE */\n"
    "mtype = {LEASE_OVER, BIND_CLOSED, SAID_UNSURE, RELEASED, CLEARED}; /* ends of a grant */\n"
    "mtype = {HAND_OVER, TO_LAPSED, TO_UNKNOWN, TO_ABSENT}; /* what follows */\n"
    "\n"
    "/* The record. */\n"
    "mtype phase = ABSENT;\n"
    "byte attempt, token, since;\n"
    "bool hold, bind, nobody;\n"
    "mtype until = NEVER;\n"
    "\n"
    "/* What a table answers. */\n"
    "hidden mtype verdict, ends_as, after;\n";

static void print_mutants(void) {
  for (const struct mutants_one *m = MUTANTS; m->name != NULL; m++)
    printf("%s %s\n", m->name, WORLD_PROMISE_NAMES[m->breaks]);
}

int main(int argc, char **argv) {
  const struct world_rules *rules = &WORLD_REAL;
  if (argc == 2 && strcmp(argv[1], "--mutants") == 0) {
    print_mutants();
    return 0;
  }
  if (argc == 3 && strcmp(argv[1], "--mutant") == 0) {
    const struct mutants_one *mutant = mutants_find(argv[2]);
    rules = mutant == NULL ? NULL : &mutant->rules;
  }
  if (argc == 2 || argc > 3 || rules == NULL) {
    fprintf(stderr, "usage: print_model [--mutant NAME | --mutants]\n");
    return 2;
  }
  fputs(HEADING, stdout);
  for (size_t i = 0; i < sizeof TABLES / sizeof *TABLES; i++) print_table(rules, &TABLES[i]);
  return 0;
}
