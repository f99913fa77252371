/* admission.c - see admission.h. */
#include "server/commands/admission.h"

#include <string.h>

#include "server/commands/queue.h"
#include "server/commands/reply.h"
#include "server/engine/image.h"
#include "server/journal/journal.h"

/* ---- what a command may leave ---- */

/* ASKS: a CLAIM; one that would be granted is the engine's to refuse, the others are answered. */
enum takes { TAKES_NOTHING, FREES_ONLY, ASKS, FINISHES, TAKES_MORE };

struct need {
  enum takes takes;
  size_t images, bytes;
};

static enum takes takes_of(const struct command *command) {
  if ((command->flags & COMMAND_WRITES) == 0) return TAKES_NOTHING;
  if ((command->flags & COMMAND_FREES) != 0) return FREES_ONLY;
  if ((command->flags & COMMAND_LOADS_MEMORY) == 0) return FINISHES;
  return command->group == GROUP_IDEM ? ASKS : TAKES_MORE;
}

/* Each key may leave two images: of what was due on it, and of the command; one that is only read
 * may leave the first. A command that runs in slices reserves for each of them by itself, except in
 * EXEC. */
static void add_need(struct need *need, const struct command *command, const struct span *argv,
                     size_t argc) {
  enum takes takes = takes_of(command);
  size_t keys = command->last_key < 0 ? argc - 1 : 1;
  if (takes > need->takes) need->takes = takes;
  if (takes == TAKES_NOTHING) {
    if (command->first_key != 0) need->images += keys;
    return;
  }
  need->images += 2 * keys;
  for (size_t i = 1; i < argc; i++) need->bytes += argv[i].len;
}

/* That keys are absent; and two images of each that has a claim. */
static struct need need_of_deleting(const struct call *call, size_t claims) {
  size_t keys = call->argc - 1;
  struct need need = {.takes = FREES_ONLY,
                      .images = 2 * claims,
                      .bytes = keys * (IMAGE_HEAD_BYTES + IMAGE_ALIGNMENT)};
  for (size_t i = 1; i < call->argc; i++) need.bytes += call->argv[i].len;
  return need;
}

static struct need need_of(const struct call *call) {
  struct need need = {0};
  bool frees = (call->command->flags & COMMAND_FREES) != 0;
  if (frees && call->command->last_key < 0 && admission_counts(call))
    return need_of_deleting(call, 0);
  if ((call->command->flags & COMMAND_SLICES) != 0) return need;
  if ((call->command->flags & COMMAND_RUNS_QUEUE) == 0) {
    add_need(&need, call->command, call->argv, call->argc);
    return need;
  }
  const struct queue_item *item = queue_first(call->session);
  for (; item != NULL; item = item->next) add_need(&need, item->command, item->argv, item->argc);
  return need;
}

/* ---- refusing ---- */

#define NO_ROOM "the journal has no room (%s: %s); "

static void reply_no_room(struct call *call, const char *what) {
  struct worker *worker = call->worker;
  worker->counters.refused_by_journal++;
  bool queued = (call->command->flags & COMMAND_RUNS_QUEUE) != 0;
  int error = journal_room_error(worker->journal);
  resp_write_errorf(call->reply, "%s" NO_ROOM "%s",
                    queued ? "EXECABORT Transaction discarded because of: MISCONF " : "MISCONF ",
                    worker->options->dir, strerror(error), what);
}

void admission_refuse_claim(struct call *call) { reply_no_room(call, "nothing new is taken"); }

/* What this command may append, with what the commands of other loops may. A promise of this loop
 * holds until its next one; what it appended meanwhile counts twice for as long. */
static size_t promise(struct worker *worker, size_t bytes) {
  struct instance *instance = worker->instance;
  size_t more = bytes - worker->promised_bytes; /* may wrap around, as the sum does */
  worker->promised_bytes = bytes;
  return atomic_fetch_add(&instance->promised_bytes, more) + more;
}

static bool has_room(struct call *call, const struct need *need) {
  struct worker *worker = call->worker;
  size_t bytes = need->bytes + need->images * worker->outbox.most_bytes;
  enum journal_room room = journal_room(worker->journal, promise(worker, bytes));
  worker->no_room = room != JOURNAL_ROOM_ENOUGH;
  switch (room) {
    case JOURNAL_ROOM_ENOUGH: return true;
    case JOURNAL_ROOM_LOW:
      if (need->takes != TAKES_MORE) return true;
      reply_no_room(call, "nothing new is taken");
      return false;
    case JOURNAL_ROOM_LAST:
      if (need->takes <= ASKS) return true;
      reply_no_room(call, "only DEL and FLUSHALL are");
      return false;
    case JOURNAL_ROOM_NONE:
    default: reply_no_room(call, "nothing can be changed"); return false;
  }
}

bool admission_keeps_claims(struct call *call, size_t claims) {
  struct need need = need_of_deleting(call, claims);
  if (outbox_reserve(&call->worker->outbox, need.images, need.bytes)) return has_room(call, &need);
  reply_no_memory(call);
  return false;
}

/* What is due on keys that are read is granted while there is room (worker.no_room). */
bool admission_keeps(struct call *call) {
  struct need need = need_of(call);
  bool reads = need.takes == TAKES_NOTHING;
  if (reads && need.images <= OUTBOX_CALL_IMAGES / 2) return true;
  if (!outbox_reserve(&call->worker->outbox, need.images, need.bytes)) {
    reply_no_memory(call);
    return false;
  }
  return reads || has_room(call, &need);
}
