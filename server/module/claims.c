/* claims.c - see claims.h. */
#include "server/module/claims.h"

#include "server/module/arguments.h"
#include "server/module/due.h"
#include "server/module/inspect.h"
#include "server/rules/request_claims.h"

/* Steps of the host's scan in a slice, each of about one key: half a millisecond to one. Between
 * two slices the host serves its other clients. */
#define SLICE_STEPS 2048

/* A page has all claims of its last token, so that AFTER that token none is missed, but not more
 * than this in all: anybody may copy a record. */
#define PAGE_MOST 20000
#define TOKEN_BYTES sizeof(uint64_t)

/* One claim that was found: its key, and how it was then. */
struct item {
  struct inspection shown; /* its spans point into bytes */
  char bytes[];            /* its place in the order: the token, big endian, and the key */
};

struct scan {
  RedisModuleBlockedClient *client; /* NULL: it is one slice */
  RedisModuleScanCursor *cursor;
  RedisModuleDict
      *found;       /* token, key --> struct item: the `count` lowest, and all of the last token */
  int64_t last;     /* the highest token of those found */
  uint64_t of_last; /* how many have it */
  struct request_claims request; /* its prefix points into bytes */
  int db;
  char bytes[];
};

/* ---- what is found ---- */

static void put_token(char to[TOKEN_BYTES], int64_t token) {
  uint64_t big = __builtin_bswap64((uint64_t)token);
  memcpy(to, &big, sizeof big);
}

static bool is_wanted(const struct request_claims *request, const struct visit *visit,
                      const struct inspection *shown) {
  enum rules_phase phase = visit->record.facts.phase;
  struct span prefix = request->prefix, key = shown->key;
  bool any = request->phase == RULES_ABSENT;
  if (phase == RULES_ABSENT || phase == RULES_DONE || (!any && phase != request->phase))
    return false;
  if (shown->age_ms < request->older_ms || shown->token <= (int64_t)request->after) return false;
  return prefix.len <= key.len &&
         (prefix.len == 0 || memcmp(prefix.data, key.data, prefix.len) == 0);
}

static struct span keep(char **to, struct span bytes) {
  if (!span_present(bytes)) return bytes;
  if (bytes.len > 0) memcpy(*to, bytes.data, bytes.len);
  struct span kept = {*to, bytes.len};
  *to += bytes.len;
  return kept;
}

static struct item *item_of(const struct inspection *shown) {
  struct item *item = api.Alloc(sizeof *item + TOKEN_BYTES + shown->key.len + shown->owner.len +
                                shown->stage.len + shown->fingerprint.len);
  char *to = item->bytes + TOKEN_BYTES;
  put_token(item->bytes, shown->token);
  item->shown = *shown;
  item->shown.key = keep(&to, shown->key);
  item->shown.owner = keep(&to, shown->owner);
  item->shown.stage = keep(&to, shown->stage);
  item->shown.fingerprint = keep(&to, shown->fingerprint);
  return item;
}

static size_t place_bytes(const struct item *item) { return TOKEN_BYTES + item->shown.key.len; }

/* The first one from this token on. NULL: there is none. */
static struct item *item_from(const struct scan *scan, int64_t token) {
  char place[TOKEN_BYTES];
  put_token(place, token);
  RedisModuleDictIter *iterator = api.DictIteratorStartC(scan->found, ">=", place, sizeof place);
  size_t len;
  void *item = NULL;
  if (api.DictNextC(iterator, &len, &item) == NULL) item = NULL;
  api.DictIteratorStop(iterator);
  return item;
}

static void drop_item(struct scan *scan, struct item *item) {
  api.DictDelC(scan->found, item->bytes, place_bytes(item), NULL);
  api.Free(item);
}

/* Whose token is the highest of those that are left. */
static void find_last(struct scan *scan) {
  RedisModuleDictIter *iterator = api.DictIteratorStartC(scan->found, "$", NULL, 0);
  size_t len;
  void *item;
  scan->of_last = 0;
  while (api.DictPrevC(iterator, &len, &item) != NULL) {
    int64_t token = ((struct item *)item)->shown.token;
    if (scan->of_last > 0 && token != scan->last) break;
    scan->last = token;
    scan->of_last++;
  }
  api.DictIteratorStop(iterator);
}

static void drop_last(struct scan *scan) {
  for (struct item *item; (item = item_from(scan, scan->last)) != NULL;) drop_item(scan, item);
  find_last(scan);
}

static bool has_room(const struct scan *scan, int64_t token) {
  uint64_t size = api.DictSize(scan->found);
  if (size < scan->request.count || token < scan->last) return true;
  return token == scan->last && size < PAGE_MOST;
}

/* A key that the host's scan returns twice is found once. */
static void add_item(struct scan *scan, const struct inspection *shown) {
  if (!has_room(scan, shown->token)) return;
  struct item *item = item_of(shown);
  if (api.DictSetC(scan->found, item->bytes, place_bytes(item), item) != API_OK) {
    api.Free(item);
    return;
  }
  if (scan->of_last == 0 || shown->token > scan->last) {
    scan->last = shown->token;
    scan->of_last = 0;
  }
  if (shown->token == scan->last) scan->of_last++;
  if (api.DictSize(scan->found) - scan->of_last >= scan->request.count) drop_last(scan);
}

static void on_key(RedisModuleCtx *ctx, RedisModuleString *name, RedisModuleKey *key, void *data) {
  (void)key;
  struct scan *scan = data;
  struct inspection shown;
  struct visit visit;
  due_open(&visit, &host, ctx, name, false);
  if (visit.record.facts.phase != RULES_ABSENT) {
    inspect_show(&visit, &shown);
    if (is_wanted(&scan->request, &visit, &shown)) add_item(scan, &shown);
  }
  due_close(&visit);
}

/* ---- the scan ---- */

static struct scan *create_scan(RedisModuleCtx *ctx, const struct request_claims *request) {
  struct scan *scan = api.Alloc(sizeof *scan + request->prefix.len);
  *scan = (struct scan){.cursor = api.ScanCursorCreate(),
                        .found = api.CreateDict(NULL),
                        .request = *request,
                        .db = api.GetSelectedDb(ctx)};
  char *to = scan->bytes;
  scan->request.prefix = keep(&to, request->prefix);
  return scan;
}

static void destroy_scan(struct scan *scan) {
  for (struct item *item; (item = item_from(scan, 0)) != NULL;) drop_item(scan, item);
  api.FreeDict(NULL, scan->found);
  api.ScanCursorDestroy(scan->cursor);
  api.Free(scan);
}

static void write_found(RedisModuleCtx *ctx, const struct scan *scan) {
  api.ReplyWithArray(ctx, (long)api.DictSize(scan->found));
  RedisModuleDictIter *iterator = api.DictIteratorStartC(scan->found, "^", NULL, 0);
  size_t len;
  void *item;
  while (api.DictNextC(iterator, &len, &item) != NULL)
    inspect_write(ctx, &((struct item *)item)->shown, 0);
  api.DictIteratorStop(iterator);
}

/* ---- in slices, for a client that waits ---- */

static int on_reply(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
  (void)argv, (void)argc;
  write_found(ctx, api.GetBlockedClientPrivateData(ctx));
  return API_OK;
}

static void on_free(RedisModuleCtx *ctx, void *data) {
  (void)ctx;
  destroy_scan(data);
}

/* A client that has gone is noticed by the host, which then drops the reply. */
static void on_slice(RedisModuleCtx *ctx, void *data) {
  struct scan *scan = data;
  api.SelectDb(ctx, scan->db);
  for (unsigned steps = 0; steps < SLICE_STEPS; steps++) {
    if (api.Scan(ctx, scan->cursor, on_key, scan) != 0) continue;
    api.UnblockClient(scan->client, scan);
    return;
  }
  api.CreateTimer(host.ctx, 0, on_slice, scan);
}

/* ---- the command ---- */

static void refuse_size(RedisModuleCtx *ctx, size_t most) {
  arguments_refuse(ctx, &(struct request_error){
                            .fault = REQUEST_TOO_BIG, .name = "argument", .most = (int64_t)most});
}

/* False: an argument is over its limit, which is replied. */
static bool take(struct span spans[ARGUMENTS_MOST], RedisModuleCtx *ctx, RedisModuleString **argv,
                 size_t count) {
  for (size_t i = 0; i < count; i++) {
    spans[i].data = api.StringPtrLen(argv[i], &spans[i].len);
    size_t most = i > 0 ? request_claims_limit(&host.settings.limits, spans, i) : SIZE_MAX;
    if (spans[i].len <= most) continue;
    refuse_size(ctx, most);
    return false;
  }
  return true;
}

int claims_command(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
  struct span spans[ARGUMENTS_MOST];
  size_t count = argc < ARGUMENTS_MOST ? (size_t)argc : ARGUMENTS_MOST;
  if (!take(spans, ctx, argv, count)) return API_OK;
  const struct request_input input = {spans, count, &host.settings.limits};
  struct request_claims request;
  char error[REQUEST_ERROR_BYTES];
  if (!request_claims_parse(&input, &request, error)) return api.ReplyWithError(ctx, error);
  struct scan *scan = create_scan(ctx, &request);
  if ((api.GetContextFlags(ctx) & API_FLAGS_DENY_BLOCKING) != 0) {
    while (api.Scan(ctx, scan->cursor, on_key, scan) != 0) continue;
    write_found(ctx, scan);
    destroy_scan(scan);
    return API_OK;
  }
  scan->client = api.BlockClient(ctx, on_reply, NULL, on_free, 0);
  api.CreateTimer(ctx, 0, on_slice, scan);
  return API_OK;
}
