/* world.c - see world.h. */
#include "tests/crash/world.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MOST_EVERY 1024u /* choices of which all are tried before a sync, */
#define FEW_EVERY 16u    /* and before other calls */
#define DRAWN 96u
#define FEW_DRAWN 8u
#define TORN 16u
#define SPARSE 4u
#define STEPS 400u
#define MOST_TRIMS 200u
#define MOST_SEGMENTS 4u
#define MOST_HELPS 8u /* after which there is room again, when the disk has some */

/* What a power cut finds that happens later on; at the end of the step the life goes on from it. */
struct capture {
  unsigned after; /* so many looks; 0: not armed */
  bool taken, in_start;
  uint32_t count, committed, acked, head_count;
  bool begun;
  struct journal_moment acked_moment;
};

struct world {
  const struct world_options *options;
  struct world_counts *counts;
  struct random random;
  struct history *history;
  struct disk *disk, *other;
  struct journal_options journal_options;
  struct journal *journal;
  uint64_t segment_bytes, seen_changed, seen_failed;
  int64_t now_ns;
  unsigned step, kill_after;
  bool failed, dead, in_start;
  struct capture capture;
  struct image image;
  struct image_pieces pieces;
  struct history_recovery looked, recovery; /* a look may come while the other is made */
  char *text;
};

static const unsigned char LOG_ID[JOURNAL_ID_BYTES] = "crash explorer!";

/* ---- when a promise is broken ---- */

static size_t say_choice(const struct image_pieces *pieces, char *to, size_t room) {
  size_t len = 0;
  for (unsigned i = 0; i < pieces->count && len + 32 < room; i++) {
    if (pieces->most[i] == 0) continue;
    len += (size_t)snprintf(to + len, room - len, " %u/%u", pieces->choice[i], pieces->most[i]);
    if (pieces->torn[i] < DISK_SECTOR)
      len += (size_t)snprintf(to + len, room - len, "@%u", pieces->torn[i]);
  }
  return len;
}

static bool broken(struct world *w, const char *format, ...) {
  static const char *const modes[] = {"always", "everysec", "no"};
  if (w->failed) return false;
  w->failed = true;
  va_list arguments;
  va_start(arguments, format);
  int len = snprintf(w->text, WORLD_TEXT_BYTES,
                     "--seed %llu --world %llu: step %u, call %llu%s, %s, segments of %llu: ",
                     (unsigned long long)w->options->seed, (unsigned long long)w->options->number,
                     w->step, (unsigned long long)w->disk->calls, w->in_start ? " of a start" : "",
                     modes[w->journal_options.sync], (unsigned long long)w->segment_bytes);
  len += vsnprintf(w->text + len, WORLD_TEXT_BYTES - (size_t)len, format, arguments);
  va_end(arguments);
  return false;
}

/* ---- looks ---- */

static bool recover_image(struct world *w) {
  char error[JOURNAL_ERROR_BYTES] = "";
  struct journal_options options = w->journal_options;
  struct journal *journal;
  options.files = &w->image.files;
  enum journal_result result = journal_open(&options, &journal, error);
  if (result != JOURNAL_OK)
    return broken(w, "journal_open: %s (%s)", result == JOURNAL_CORRUPT ? "CORRUPT" : "REFUSED",
                  error);
  bool fine = history_check(&w->looked, w->history, journal);
  journal_close(journal);
  if (!fine) return broken(w, "%s", w->looked.why);
  if (w->image.opens != 0) return broken(w, "%d files are left open", w->image.opens);
  return w->image.written == 0 || broken(w, "recovering writes to the disk");
}

static void look_at(struct world *w, uint64_t *kind) {
  if (w->failed) return;
  image_make(&w->image, w->disk, &w->pieces);
  ++*kind;
  w->counts->states++;
  w->counts->in_start += w->in_start;
  w->counts->with_names += w->pieces.names > 0;
  if (recover_image(w)) return;
  size_t len = strlen(w->text);
  len += (size_t)snprintf(w->text + len, WORLD_TEXT_BYTES - len, "; pieces:");
  say_choice(&w->pieces, w->text + len, WORLD_TEXT_BYTES - len);
}

static void look_at_every(struct world *w, uint64_t *kind) {
  memset(w->pieces.choice, 0, w->pieces.count);
  do look_at(w, kind);
  while (image_next(&w->pieces) && !w->failed);
}

/* Most are new, most are old, any, or the first few of them are new. */
static void draw(struct world *w) {
  struct image_pieces *pieces = &w->pieces;
  uint64_t pattern = random_below(&w->random, 4);
  uint64_t few = random_below(&w->random, pieces->count + 1u);
  for (unsigned i = 0; i < pieces->count; i++) {
    uint64_t drawn = random_next(&w->random) >> 8;
    unsigned most = pieces->most[i];
    pieces->torn[i] = DISK_SECTOR;
    if (pattern == 0) pieces->choice[i] = (uint8_t)(drawn % 8 > 0 ? most : 0);
    if (pattern == 1) pieces->choice[i] = (uint8_t)(drawn % 8 > 0 ? 0 : most);
    if (pattern == 2) pieces->choice[i] = (uint8_t)(drawn % (most + 1));
    if (pattern == 3) pieces->choice[i] = (uint8_t)(i < few ? most : 0);
  }
}

static void tear(struct world *w) {
  struct image_pieces *pieces = &w->pieces;
  uint64_t which = random_below(&w->random, pieces->count);
  for (unsigned i = 0; i < pieces->count; i++) {
    bool here = i == which || random_once(&w->random, 6);
    if (here) pieces->torn[i] = (uint16_t)random_below(&w->random, DISK_SECTOR);
  }
}

static void look_at_drawn(struct world *w, unsigned count, bool torn, uint64_t *kind) {
  for (unsigned i = 0; i < count && !w->failed; i++) {
    draw(w);
    if (torn) tear(w);
    look_at(w, kind);
  }
}

static void take(struct world *w) {
  const struct history *history = w->history;
  struct capture *capture = &w->capture;
  image_pieces(w->disk, &w->pieces);
  draw(w);
  if (w->pieces.sectors > 0 && random_once(&w->random, 3)) tear(w);
  image_make(&w->image, w->disk, &w->pieces);
  image_restart(w->other, &w->image);
  *capture = (struct capture){.taken = true,
                              .in_start = w->in_start,
                              .count = history->count,
                              .committed = history->committed,
                              .acked = history->acked,
                              .head_count = history->head_count,
                              .begun = history->begun,
                              .acked_moment = history->acked_moment};
}

static void trace(const struct world *w, const char *what) {
  const struct history *history = w->history;
  if (!w->options->trace) return;
  printf("%u: %s: call %llu, %u appended, %u committed, %u acknowledged, %u heads\n", w->step, what,
         (unsigned long long)w->disk->calls, history->count, history->committed, history->acked,
         history->head_count);
}

static void look(struct world *w, bool before_sync) {
  struct world_counts *counts = w->counts;
  if (w->failed || w->seen_changed == w->disk->changed) return;
  w->seen_changed = w->disk->changed;
  image_pieces(w->disk, &w->pieces);
  if (w->options->sparse) before_sync = false;
  uint64_t most = before_sync ? MOST_EVERY : w->options->sparse ? SPARSE : FEW_EVERY;
  uint64_t choices = image_choices(&w->pieces, most + 1);
  if (choices == 1) {
    look_at(w, &counts->durable);
  } else if (choices <= most) {
    look_at_every(w, &counts->every);
  } else {
    look_at_drawn(w,
                  before_sync          ? DRAWN
                  : w->options->sparse ? SPARSE
                                       : FEW_DRAWN,
                  false, &counts->drawn);
  }
  if (w->pieces.sectors > 0) look_at_drawn(w, before_sync ? TORN : TORN / 8, true, &counts->torn);
}

static const char *const CALLS[DISK_CALLS] = {"list",  "open",   "close",    "size",
                                              "read",  "write",  "allocate", "sync",
                                              "links", "rename", "remove",   "sync_directory"};

static void watch(void *context, enum disk_call call) {
  struct world *w = context;
  if (w->disk->dead) return;
  w->counts->calls++;
  trace(w, CALLS[call]);
  look(w, call == DISK_SYNC || call == DISK_SYNC_DIRECTORY);
  if (w->capture.after > 0 && --w->capture.after == 0) take(w);
  if (w->kill_after > 0 && --w->kill_after == 0) w->disk->dead = true;
}

/* ---- the journal ---- */

static bool is_invisible(const struct world *w) {
  enum disk_failure failure = w->options->fault.failure;
  return failure == DISK_EINTR || failure == DISK_SHORT;
}

static void on_failed(void *context, const char *text) {
  struct world *w = context;
  w->dead = true;
  if (is_invisible(w)) broken(w, "not gone on after a short call or EINTR: %s", text);
  if (w->options->filling && !w->disk->dead && w->disk->fault.failure == DISK_FINE)
    broken(w, "ended by a full disk: %s", text);
}

static struct span on_head(void *context, void *caller, int64_t *as_of_ms) {
  struct world *w = context;
  assert(caller == NULL || caller == w);
  if (w->history->begun && random_once(&w->random, 8)) return SPAN_ABSENT;
  return history_head(w->history, &w->random, as_of_ms);
}

/* In the other modes: what a sync has made durable that the journal did not await. */
static void acknowledge(struct world *w) {
  bool always = w->journal_options.sync == JOURNAL_SYNC_ALWAYS;
  if (always || disk_is_durable(w->disk)) history_acknowledge(w->history);
}

static void commit(struct world *w) {
  if (w->options->early) {
    w->history->committed = w->history->count;
    history_acknowledge(w->history);
  }
  bool fine = journal_commit(w->journal, w);
  if (fine && w->disk->dead && w->history->count > w->history->committed)
    broken(w, "committed though nothing could be written");
  if (!fine && !w->dead) broken(w, "journal_commit failed without saying so");
  if (!fine || w->disk->dead) return;
  w->history->committed = w->history->count;
  acknowledge(w);
}

/* What only the disk can be the reason of. */
static bool may_lack_room(const struct world *w) {
  return w->dead || w->disk->dead || w->disk->limit_bytes != UINT64_MAX ||
         w->disk->failed != w->seen_failed;
}

/* Resumes by itself once the disk has room. */
static bool has_room(struct world *w, size_t bytes) {
  if (journal_room(w->journal, bytes) == JOURNAL_ROOM_ENOUGH) return true;
  w->counts->no_room++;
  if (may_lack_room(w)) {
    w->seen_failed = w->disk->failed;
    return false;
  }
  if (is_invisible(w)) return broken(w, "no room after a short call or EINTR");
  uint64_t failed = w->disk->failed;
  for (unsigned i = 0; i < MOST_HELPS; i++) {
    journal_help(w->journal);
    if (journal_room(w->journal, bytes) == JOURNAL_ROOM_ENOUGH) return true;
  }
  if (may_lack_room(w) || w->disk->failed != failed) return false;
  return broken(w, "no room (%s), though the disk has some",
                strerror(journal_room_error(w->journal)));
}

/* ---- restarts ---- */

/* False: not started. */
static bool start(struct world *w) {
  char error[JOURNAL_ERROR_BYTES] = "";
  struct history *history = w->history;
  uint64_t failed = w->disk->failed;
  w->in_start = true;
  enum journal_result result = journal_start(w->journal, w, &history->moment, error);
  w->in_start = false;
  if (w->disk->dead) return true;
  bool excused = w->disk->failed != failed && !is_invisible(w);
  if (result != JOURNAL_OK && !excused) return broken(w, "journal_start: %s", error);
  if (result != JOURNAL_OK) return false;
  history->begun = true;
  history->committed = history->count;
  history_acknowledge(history);
  return true;
}

/* Opens and recovers. Without a fault it has to; with one it may refuse, and has changed nothing.
 */
static bool load(struct world *w) {
  char error[JOURNAL_ERROR_BYTES] = "";
  uint64_t failed = w->disk->failed, changed = w->disk->changed;
  enum journal_result result = journal_open(&w->journal_options, &w->journal, error);
  if (result == JOURNAL_OK && history_check(&w->recovery, w->history, w->journal)) return true;
  bool excused = w->disk->failed != failed && !is_invisible(w);
  if (result == JOURNAL_CORRUPT) excused = false;
  if (result == JOURNAL_OK && strncmp(w->recovery.why, "journal_recover: REFUSED", 24) != 0)
    excused = false;
  if (!excused)
    return broken(w, "opened again: %s", result == JOURNAL_OK ? w->recovery.why : error);
  if (w->disk->changed != changed) return broken(w, "refused, and something was changed");
  return false;
}

static void give_up(struct world *w) {
  w->counts->refused++;
  w->disk->watch = NULL;
  journal_close(w->journal);
  w->journal = NULL;
  if (disk_open_files(w->disk) > 0) broken(w, "%u files are left open", disk_open_files(w->disk));
}

/* lossless: no power was lost, so nothing that was committed may be. */
static bool open_once(struct world *w, bool lossless) {
  struct history *history = w->history;
  uint32_t acked = history->acked, committed = history->committed;
  if (lossless) history->acked = history->committed;
  bool loaded = load(w);
  if (loaded) {
    history_cut(history, &w->recovery);
    if (lossless) history->committed = committed;
    history->acked = lossless ? acked : history->committed;
    w->disk->watch = watch;
    if (start(w)) return true;
  }
  history->acked = acked;
  give_up(w);
  return false;
}

static enum journal_sync draw_mode(struct world *w) {
  static const enum journal_sync modes[] = {JOURNAL_SYNC_ALWAYS, JOURNAL_SYNC_ALWAYS,
                                            JOURNAL_SYNC_EVERYSEC, JOURNAL_SYNC_NO};
  return modes[random_below(&w->random, 4)];
}

/* What fails once does not fail again. */
static bool open_again(struct world *w, bool lossless) {
  w->dead = false;
  w->seen_changed = UINT64_MAX;
  if (random_once(&w->random, 5)) w->journal_options.sync = draw_mode(w);
  w->disk->watch_context = w;
  w->journal_options.files = &w->disk->files;
  if (w->options->fault.failure == DISK_FINE) w->disk->fault = (struct disk_fault){0};
  for (unsigned i = 0; i < 3 && !w->failed; i++) {
    if (open_once(w, lossless)) return true;
  }
  return broken(w, "not to be opened again");
}

static void close_journal(struct world *w) {
  struct journal_figures figures;
  if (w->journal == NULL) return;
  journal_figures(w->journal, &figures);
  w->counts->trimmed += figures.removed_segments;
  journal_close(w->journal);
  w->journal = NULL;
}

static void end_process(struct world *w) {
  bool was_dead = w->disk->dead;
  w->disk->dead = true;
  close_journal(w);
  if (disk_open_files(w->disk) > 0) broken(w, "%u files are left open", disk_open_files(w->disk));
  w->disk->dead = was_dead;
}

static bool kill_process(struct world *w) {
  w->counts->killed++;
  trace(w, "killed");
  end_process(w);
  w->disk->dead = false;
  w->kill_after = 0;
  if (random_once(&w->random, 2))
    disk_write_back(w->disk, random_next(&w->random), (unsigned)random_below(&w->random, 257));
  return open_again(w, true);
}

static bool cut_power(struct world *w) {
  struct history *history = w->history;
  const struct capture *capture = &w->capture;
  w->counts->cut++;
  trace(w, "power cut");
  w->counts->cut_in_start += capture->in_start;
  end_process(w);
  struct disk *former = w->disk;
  w->disk = w->other;
  w->other = former;
  w->disk->dead = false;
  w->kill_after = 0;
  history->count = capture->count;
  history->committed = capture->committed;
  history->acked = capture->acked;
  history->begun = capture->begun;
  history->acked_moment = capture->acked_moment;
  w->capture = (struct capture){0};
  return open_again(w, false);
}

static bool close_and_open(struct world *w) {
  w->counts->closed++;
  close_journal(w);
  if (!w->disk->dead && !w->dead) {
    w->history->committed = w->history->count;
    history_acknowledge(w->history);
  }
  look(w, false);
  w->disk->watch = NULL;
  if (w->capture.taken || w->disk->dead || w->dead) {
    w->disk->dead = false;
    return w->capture.taken ? cut_power(w) : open_again(w, true);
  }
  return w->failed ? false : open_again(w, true);
}

/* ---- steps ---- */

static size_t draw_bytes(struct world *w) {
  uint64_t drawn = random_below(&w->random, 16);
  if (drawn < 8) return random_below(&w->random, 200);
  if (drawn < 13) return random_below(&w->random, 1500);
  if (drawn < 15) return random_below(&w->random, 5000);
  return random_below(&w->random, w->segment_bytes * 3 / 2);
}

static void append(struct world *w) {
  unsigned count = 1 + (unsigned)random_below(&w->random, 3);
  for (unsigned i = 0; i < count && !w->dead; i++) {
    size_t bytes = draw_bytes(w);
    if (!has_room(w, bytes + 256)) return;
    struct journal_append made = history_append(w->history, &w->random, bytes);
    journal_append(w->journal, &made);
    w->counts->appends++;
  }
  if (!random_once(&w->random, 10)) commit(w);
}

static void help(struct world *w) {
  for (uint64_t left = 1 + random_below(&w->random, 4); left > 0 && journal_help(w->journal);
       left--)
    continue;
  if (w->dead || w->disk->dead) return;
  if (w->journal_options.sync == JOURNAL_SYNC_EVERYSEC) history_acknowledge(w->history);
}

/* Now and then it cannot, as without room; then it is asked again. */
static bool visit(void *caller, uint64_t segment, struct span record) {
  struct world *w = caller;
  struct journal_append made;
  (void)segment;
  if (w->dead || w->disk->dead || random_once(&w->random, 40)) return false;
  if (!history_again(w->history, record, &made)) return true;
  if (journal_room(w->journal, record.len) == JOURNAL_ROOM_NONE) {
    if (!may_lack_room(w)) broken(w, "no room for what was to be appended again");
    w->history->count--;
    return false;
  }
  journal_append(w->journal, &made);
  w->counts->again++;
  return true;
}

static bool can_trim(struct world *w) {
  return !w->dead && !w->disk->dead && !w->failed && !history_is_full(w->history) &&
         has_room(w, 64);
}

static void trim(struct world *w) {
  uint64_t live_bytes = history_live_bytes(w->history) * random_below(&w->random, 3) / 2;
  for (unsigned i = 0; i < MOST_TRIMS && can_trim(w); i++) {
    if (!journal_trim(w->journal, live_bytes, visit, w)) break;
    commit(w);
    if (!w->dead && !random_once(&w->random, 3)) help(w);
  }
}

/* A long log is slow to recover: time passes until it is shorter. */
static void shorten(struct world *w) {
  struct journal_figures figures;
  journal_figures(w->journal, &figures);
  if (figures.segments <= MOST_SEGMENTS) return;
  w->history->moment.engine_ms += 1000;
  trim(w);
  while (!w->dead && !w->disk->dead && journal_help(w->journal)) continue;
}

static void beat(struct world *w) {
  w->now_ns += (int64_t)random_below(&w->random, 2000) * 1000000;
  bool lease_runs = random_once(&w->random, 2);
  bool fine = journal_beat(w->journal, w, &w->history->moment, lease_runs, w->now_ns);
  if (!fine && !w->dead) broken(w, "journal_beat failed without saying so");
  if (fine && !w->disk->dead) acknowledge(w);
}

static void pass_time(struct world *w) {
  struct journal_moment *moment = &w->history->moment;
  int64_t passed = (int64_t)random_below(&w->random, random_once(&w->random, 4) ? 8000 : 800);
  moment->engine_ms += passed;
  moment->wall_ms += passed + (int64_t)random_below(&w->random, 3);
  int64_t difference = moment->wall_ms - moment->engine_ms;
  if (difference > moment->largest_ms) moment->largest_ms = difference;
}

static void delay_ends(struct world *w) {
  int64_t by_ms = (int64_t)random_below(&w->random, 1000);
  history_delay(w->history, by_ms);
  journal_delay_ends(w->journal, by_ms);
}

static void write_back(struct world *w) {
  disk_write_back(w->disk, random_next(&w->random), (unsigned)random_below(&w->random, 257));
  w->disk->changed++;
}

/* Some calls fail; then the process ends, if the journal says that it is broken. */
static void fail_calls(struct world *w) {
  if (w->options->fault.failure != DISK_FINE) return;
  uint64_t first = w->disk->calls + 1 + random_below(&w->random, 6);
  w->disk->fault = (struct disk_fault){first, first + random_below(&w->random, 3), DISK_EIO};
  w->counts->failed_syncs++;
}

struct action {
  void (*take)(struct world *w);
  unsigned weight;
  const char *name;
};

static void arm_cut(struct world *w) {
  if (w->options->fault.failure != DISK_FINE) return;
  if (w->capture.after == 0) w->capture.after = 1 + (unsigned)random_below(&w->random, 60);
}

static void arm_kill(struct world *w) {
  if (w->options->fault.failure != DISK_FINE) return;
  if (w->kill_after == 0) w->kill_after = 1 + (unsigned)random_below(&w->random, 12);
}

static void close_normally(struct world *w) { close_and_open(w); }

static const struct action ACTIONS[] = {
    {append, 60, "append"},
    {help, 14, "help"},
    {trim, 10, "trim"},
    {beat, 6, "beat"},
    {pass_time, 16, "pass_time"},
    {delay_ends, 1, "delay_ends"},
    {commit, 3, "commit"},
    {write_back, 3, "write_back"},
    {fail_calls, 1, "fail_calls"},
    {arm_cut, 5, "arm_cut"},
    {arm_kill, 2, "arm_kill"},
    {close_normally, 2, "close_normally"},
};

/* No file can grow from here on, or all can again. */
static void fill_or_free(struct world *w) {
  bool full = w->disk->limit_bytes != UINT64_MAX;
  uint64_t more = random_below(&w->random, 2) * random_below(&w->random, w->segment_bytes);
  w->disk->limit_bytes = full ? UINT64_MAX : disk_used_bytes(w->disk) + more;
  w->other->limit_bytes = w->disk->limit_bytes;
  w->disk->names_full = w->other->names_full = !full && random_once(&w->random, 2);
  trace(w, full ? "freed" : "full");
}

static void act(struct world *w) {
  uint64_t total = 0, drawn;
  for (size_t i = 0; i < sizeof ACTIONS / sizeof ACTIONS[0]; i++) total += ACTIONS[i].weight;
  if (w->options->failing_syncs && random_once(&w->random, 12)) fail_calls(w);
  if (w->options->filling && random_once(&w->random, 8)) fill_or_free(w);
  drawn = random_below(&w->random, total);
  const struct action *action = ACTIONS;
  while (drawn >= action->weight) drawn -= (action++)->weight;
  trace(w, action->name);
  action->take(w);
  if (w->journal != NULL && !w->failed && !w->dead && !w->disk->dead) shorten(w);
  if (w->capture.taken) {
    cut_power(w);
  } else if (w->dead || w->disk->dead) {
    kill_process(w);
  }
  while (w->capture.taken && !w->failed) cut_power(w);
  if (!w->dead && !w->disk->dead) look(w, false);
}

/* ---- a life ---- */

static void begin(struct world *w) {
  static const uint64_t sizes[] = {4096, 4096, 8192, 16384};
  w->random = random_begin(w->options->seed, w->options->number);
  w->history = history_create();
  w->disk = disk_create();
  w->other = disk_create();
  w->segment_bytes = sizes[random_below(&w->random, 4)];
  w->disk->allocates = w->other->allocates = !random_once(&w->random, 4);
  w->disk->lies = w->other->lies = w->options->lies;
  w->journal_options = (struct journal_options){
      .sync = draw_mode(w),
      .segment_bytes = w->segment_bytes,
      .log_id = LOG_ID,
      .hooks = {.context = w, .failed = on_failed, .head = on_head},
      .helper = false,
  };
  w->seen_changed = UINT64_MAX;
  w->disk->fault = w->options->fault;
}

static void end(struct world *w) {
  w->disk->watch = NULL;
  close_journal(w);
  history_destroy(w->history);
  disk_destroy(w->disk);
  disk_destroy(w->other);
}

bool world_live(const struct world_options *options, struct world_counts *counts,
                char text[WORLD_TEXT_BYTES]) {
  struct world *w = calloc(1, sizeof *w);
  if (w == NULL) return false;
  *w = (struct world){.options = options, .counts = counts, .text = text};
  begin(w);
  open_again(w, false);
  unsigned steps = options->steps > 0 ? options->steps : STEPS;
  for (w->step = 1; w->step <= steps && !w->failed && !history_is_full(w->history); w->step++)
    act(w);
  counts->worlds++;
  counts->steps += w->step;
  counts->disk_calls += w->disk->calls;
  counts->hit += w->disk->failed;
  bool fine = !w->failed;
  end(w);
  free(w);
  return fine;
}
