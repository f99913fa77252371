/* take_back.c - see take_back.h. */
#include "server/module/take_back.h"

#include <stdio.h>
#include <string.h>

#include "server/module/due.h"
#include "server/module/grant.h"

/* Of those that were asked about before, and were not written then, so many are asked about in a
 * turn: each takes the host some microseconds, and any number of clients may read nothing. */
#define ASKED_AGAIN_MOST 4

/* ---- one ---- */

/* The former connection may have ended meanwhile, which nobody has watched: BIND is gone. */
static void put_back(struct visit *visit, const struct undo *undo) {
  struct bindings *bindings = &visit->host->bindings;
  bindings_drop(bindings, bindings_find(bindings, visit->db, visit->text));
  if (undo->former != NULL) {
    visit_put_back(visit, undo->former);
    visit->record.facts.bind = false;
  } else {
    visit->record = (struct layout_record){.facts = {.phase = RULES_ABSENT}};
  }
  visit->host->counters.taken_back++;
  grant_end_again(visit, undo->end);
}

static void take_back(struct host *of, RedisModuleCtx *ctx, const struct undo *undo) {
  struct visit visit;
  api.SelectDb(ctx, undo->db);
  due_open(&visit, of, ctx, undo->name, true);
  const struct rules_record *facts = &visit.record.facts;
  if (facts->phase == RULES_HELD && facts->token == undo->token) put_back(&visit, undo);
  due_close(&visit);
}

/* ---- whether it was written ---- */

/* CLIENT LIST says how much of its output waits: in the fixed buffer (obl) and in the list (oll). A
 * client that is not there any more has been reported as closed. */
static bool is_written(RedisModuleCtx *ctx, uint64_t client_id) {
  char id[24], line[1024];
  snprintf(id, sizeof id, "%llu", (unsigned long long)client_id);
  RedisModuleCallReply *list = api.Call(ctx, "CLIENT", "ccc", "LIST", "ID", id);
  if (list == NULL) return true;
  size_t len = 0;
  const char *bytes = api.CallReplyStringPtr(list, &len);
  if (len >= sizeof line) len = sizeof line - 1;
  if (bytes != NULL) memcpy(line, bytes, len);
  line[bytes != NULL ? len : 0] = '\0';
  api.FreeCallReply(list);
  return line[0] == '\0' || (strstr(line, " obl=0 ") != NULL && strstr(line, " oll=0 ") != NULL);
}

static void drop_if_written(RedisModuleCtx *ctx, struct undo *undo, struct list *unwritten) {
  if (is_written(ctx, undo->client_id)) {
    undos_drop(undo);
    return;
  }
  undo->checked = true;
  list_remove(&undo->link);
  list_append(unwritten, &undo->link);
}

/* Taking one back may hand over, which adds to the end of the list: there the new ones stay. */
void take_back_settle(struct host *of, RedisModuleCtx *ctx) {
  struct list seen, left, unwritten;
  unsigned again = ASKED_AGAIN_MOST;
  list_init(&seen), list_init(&left), list_init(&unwritten);
  list_splice(&seen, &of->undos);
  while (!list_empty(&seen)) {
    struct undo *undo = LIST_ENTRY(seen.next, struct undo, link);
    if (undo->gone) {
      take_back(of, ctx, undo);
      undos_drop(undo);
    } else if (!undo->checked || again > 0) {
      if (undo->checked) again--;
      drop_if_written(ctx, undo, &unwritten);
    } else {
      list_append(&left, list_pop(&seen));
    }
  }
  list_splice(&of->undos, &unwritten);
  list_splice(&of->undos, &left);
}

/* Asked while its output is still there: a client that has its grant may act, and hang up, before
 * the turn of the event loop in which it would be asked. */
void take_back_close(struct host *of, RedisModuleCtx *ctx, uint64_t client_id) {
  if (!undos_has_client(&of->undos, client_id)) return;
  undos_close(&of->undos, client_id, is_written(ctx, client_id));
}
