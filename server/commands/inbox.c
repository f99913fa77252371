/* inbox.c - see inbox.h. */
#include "server/commands/inbox.h"

#include <pthread.h>
#include <stdlib.h>

#include "server/commands/monitor.h"
#include "server/commands/pubsub.h"

struct letter {
  struct list link;
  enum inbox_kind kind;
  size_t channel_len, payload_len;
  char bytes[];
};

struct inbox {
  pthread_mutex_t lock;
  struct list letters; /* oldest first */
  size_t bytes;
  bool lost; /* something did not fit */
  _Atomic bool waiting;
};

struct inbox *inbox_create(void) {
  struct inbox *inbox = calloc(1, sizeof *inbox);
  if (inbox == NULL) return NULL;
  if (pthread_mutex_init(&inbox->lock, NULL) != 0) {
    free(inbox);
    return NULL;
  }
  list_init(&inbox->letters);
  return inbox;
}

static void drop(struct list *letters) {
  for (struct list *node; (node = list_pop(letters)) != NULL;)
    free(LIST_ENTRY(node, struct letter, link));
}

void inbox_destroy(struct inbox *inbox) {
  if (inbox == NULL) return;
  drop(&inbox->letters);
  pthread_mutex_destroy(&inbox->lock);
  free(inbox);
}

static struct letter *letter_create(enum inbox_kind kind, struct span channel,
                                    struct span payload) {
  struct letter *letter = malloc(sizeof *letter + channel.len + payload.len);
  if (letter == NULL) return NULL;
  letter->kind = kind;
  letter->channel_len = channel.len;
  letter->payload_len = payload.len;
  if (channel.len > 0) memcpy(letter->bytes, channel.data, channel.len);
  if (payload.len > 0) memcpy(letter->bytes + channel.len, payload.data, payload.len);
  return letter;
}

static size_t letter_bytes(const struct letter *letter) {
  return sizeof *letter + letter->channel_len + letter->payload_len;
}

static void tell(struct worker *to) {
  if (!atomic_exchange(&to->inbox->waiting, true))
    to->instance->wake(to->instance, UINT64_C(1) << to->number);
}

void inbox_post(struct worker *to, enum inbox_kind kind, struct span channel, struct span payload) {
  struct inbox *inbox = to->inbox;
  struct letter *letter = letter_create(kind, channel, payload);
  pthread_mutex_lock(&inbox->lock);
  if (letter == NULL || inbox->bytes + letter_bytes(letter) > INBOX_MAX_BYTES) {
    inbox->lost = true;
  } else {
    inbox->bytes += letter_bytes(letter);
    list_append(&inbox->letters, &letter->link);
    letter = NULL;
  }
  pthread_mutex_unlock(&inbox->lock);
  free(letter);
  tell(to);
}

void inbox_lose(struct worker *to) {
  struct inbox *inbox = to->inbox;
  pthread_mutex_lock(&inbox->lock);
  inbox->lost = true;
  pthread_mutex_unlock(&inbox->lock);
  tell(to);
}

bool inbox_empty(const struct worker *worker) { return !atomic_load(&worker->inbox->waiting); }

/* The letters, and whether some were lost behind them. */
static bool take_all(struct inbox *inbox, struct list *letters) {
  list_init(letters);
  atomic_store(&inbox->waiting, false);
  pthread_mutex_lock(&inbox->lock);
  for (struct list *node; (node = list_pop(&inbox->letters)) != NULL;) list_append(letters, node);
  bool lost = inbox->lost;
  inbox->lost = false;
  inbox->bytes = 0;
  pthread_mutex_unlock(&inbox->lock);
  return lost;
}

static void deliver(struct worker *worker) {
  struct list letters;
  bool lost = take_all(worker->inbox, &letters);
  for (struct list *node; (node = list_pop(&letters)) != NULL;) {
    struct letter *letter = LIST_ENTRY(node, struct letter, link);
    const struct span channel = {letter->bytes, letter->channel_len};
    const struct span payload = {letter->bytes + letter->channel_len, letter->payload_len};
    if (letter->kind == INBOX_MESSAGE) {
      pubsub_deliver(worker, channel, payload);
    } else {
      monitor_deliver(worker, payload);
    }
    free(letter);
  }
  if (!lost) return;
  pubsub_close_listeners(worker);
  monitor_close_watchers(worker);
}

void inbox_deliver(struct worker *worker) {
  if (!inbox_empty(worker)) deliver(worker);
}
