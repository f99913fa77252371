/* visit.c - see visit.h. */
#include "server/module/visit.h"

/* Values up to this size are put together on the stack. */
#define SMALL_BYTES 2048

static const struct layout_record ABSENT_RECORD = {.facts = {.phase = RULES_ABSENT}};

static void set_absent(struct visit *visit, enum visit_found found) {
  visit->found = found;
  visit->record = ABSENT_RECORD;
}

/* A string that the host keeps as a number is not asked for its bytes: the host would keep these
 * from then on. */
enum visit_found visit_read(RedisModuleKey *key, struct layout_record *record) {
  int type = key != NULL ? api.KeyType(key) : API_KEYTYPE_EMPTY;
  if (type == API_KEYTYPE_STRING && api.ValueLength(key) >= LAYOUT_BYTES_LEAST) {
    struct span value;
    value.data = api.StringDMA(key, &value.len, API_READ);
    if (layout_read(value, record)) return VISIT_RECORD;
  }
  *record = ABSENT_RECORD;
  return type == API_KEYTYPE_EMPTY ? VISIT_ABSENT : VISIT_FOREIGN;
}

void visit_open(struct visit *visit, struct host *of, RedisModuleCtx *ctx, RedisModuleString *name,
                bool writes) {
  *visit = (struct visit){
      .host = of,
      .ctx = ctx,
      .name = name,
      .db = api.GetSelectedDb(ctx),
      .now_ms = host_now_ms(of),
      .writes = writes,
  };
  visit->text.data = api.StringPtrLen(name, &visit->text.len);
  visit->key = api.OpenKey(ctx, name, writes ? API_READ | API_WRITE : API_READ);
  visit->found = visit_read(visit->key, &visit->record);
}

void visit_close(struct visit *visit) {
  if (visit->key != NULL) api.CloseKey(visit->key);
  if (visit->value != NULL) api.FreeString(NULL, visit->value);
}

/* ---- writing ---- */

RedisModuleString *visit_value(const struct visit *visit) {
  char small[SMALL_BYTES];
  size_t len = layout_bytes(&visit->record);
  char *bytes = len <= sizeof small ? small : api.Alloc(len);
  layout_write(&visit->record, bytes);
  RedisModuleString *value = api.CreateString(NULL, bytes, len);
  if (bytes != small) api.Free(bytes);
  return value;
}

/* When the host may forget it: a claim whose lease ends unseen is kept as LAPSED or UNKNOWN. */
static int64_t end_ms(const struct visit *visit) {
  const struct rules_record *facts = &visit->record.facts;
  const struct settings *settings = &visit->host->settings;
  if (facts->phase != RULES_HELD) return facts->deadline_ms;
  if (!facts->hold) return facts->deadline_ms + settings->retention_ms;
  if (settings->unknown_retention_ms == 0) return RULES_NEVER;
  return facts->deadline_ms + settings->unknown_retention_ms;
}

/* The text of a natural number, which ends at `end`. (snprintf took a twelfth of a whole CLAIM.) */
static struct span digits_before(char *end, uint64_t number) {
  char *at = end;
  do *--at = (char)('0' + number % 10);
  while ((number /= 10) > 0);
  return (struct span){at, (size_t)(end - at)};
}

/* The words are made here: the host takes an allocation more for each that it makes itself. */
static void replicate_until(struct visit *visit, RedisModuleString *value, int64_t end) {
  char room[SPAN_NUMBER_MAX];
  struct span digits = digits_before(room + sizeof room, (uint64_t)end);
  RedisModuleString *number = api.CreateString(NULL, digits.data, digits.len);
  api.Replicate(visit->ctx, "SET", "ssss", visit->name, value, visit->host->pxat, number);
  api.FreeString(NULL, number);
}

static void write_value(struct visit *visit, RedisModuleString *value) {
  int64_t end = end_ms(visit);
  api.StringSet(visit->key, value);
  if (end == RULES_NEVER) {
    api.Replicate(visit->ctx, "SET", "ss", visit->name, value);
  } else {
    api.SetAbsExpire(visit->key, end);
    replicate_until(visit, value, end);
  }
  api.SignalModifiedKey(visit->ctx, visit->name);
}

/* The bytes are those of the value now; all but the spans are as they were. */
static void point_into(struct visit *visit, RedisModuleString *value) {
  struct layout_record written;
  struct span bytes;
  bytes.data = api.StringPtrLen(value, &bytes.len);
  layout_read(bytes, &written);
  written.facts = visit->record.facts;
  written.ended_ms = visit->record.ended_ms;
  visit->record = written;
  visit->found = VISIT_RECORD;
}

static void remove_key(struct visit *visit) {
  set_absent(visit, VISIT_ABSENT);
  if (api.KeyType(visit->key) == API_KEYTYPE_EMPTY) return;
  api.DeleteKey(visit->key);
  api.Replicate(visit->ctx, "UNLINK", "s", visit->name);
  api.SignalModifiedKey(visit->ctx, visit->name);
}

static void keep_value(struct visit *visit, RedisModuleString *value) {
  if (visit->value != NULL) api.FreeString(NULL, visit->value);
  visit->value = value;
}

void visit_commit(struct visit *visit) {
  if (visit->record.facts.phase == RULES_ABSENT) {
    remove_key(visit);
    return;
  }
  RedisModuleString *value = visit_value(visit);
  write_value(visit, value);
  point_into(visit, value);
  keep_value(visit, value);
}

void visit_create(struct visit *visit) {
  keep_value(visit, visit_value(visit));
  write_value(visit, visit->value);
  visit->found = VISIT_RECORD;
}

void visit_put_back(struct visit *visit, RedisModuleString *value) {
  struct span bytes;
  bytes.data = api.StringPtrLen(value, &bytes.len);
  visit->found = VISIT_RECORD;
  if (!layout_read(bytes, &visit->record)) set_absent(visit, VISIT_ABSENT);
}

/* ---- what else is known of the key ---- */

struct queue *visit_queue(const struct visit *visit) {
  return waiters_find(&visit->host->waiters, visit->db, visit->text);
}

/* MIGRATE deletes a key as a user does: the host itself is asked. It answers a key of a slot that
 * it does not serve, or that has moved ahead of its slot, with no reply at all. */
bool visit_is_ours(const struct visit *visit) {
  if ((api.GetContextFlags(visit->ctx) & API_FLAGS_CLUSTER) == 0) return true;
  RedisModuleCallReply *answer = api.Call(visit->ctx, "EXISTS", "s", visit->name);
  if (answer == NULL) return false;
  api.FreeCallReply(answer);
  return true;
}

/* NULL: it is bound to none, or by another grant. */
static const struct binding *binding_of(const struct visit *visit) {
  if (!visit->record.facts.bind) return NULL;
  const struct binding *binding = bindings_find(&visit->host->bindings, visit->db, visit->text);
  return binding != NULL && binding->token == visit->record.facts.token ? binding : NULL;
}

int64_t visit_closed_ms(const struct visit *visit) {
  const struct binding *binding = binding_of(visit);
  return binding != NULL ? binding->closed_ms : RULES_NEVER;
}

bool visit_is_bound(const struct visit *visit) {
  const struct binding *binding = binding_of(visit);
  return binding != NULL && binding->closed_ms == RULES_NEVER;
}

int64_t visit_horizon_ms(const struct visit *visit) {
  int64_t until_ms = forgotten_until_ms(&visit->host->forgotten, visit->text);
  int64_t since_ms = slots_since_ms(&visit->host->slots, visit->text, visit->now_ms);
  return (since_ms > until_ms ? since_ms : until_ms) + visit->host->settings.born_skew_ms;
}
