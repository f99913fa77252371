/* module.c - see module.h: arguments, state, commands, events. */
#include "server/module/module.h"

#include <stdio.h>

#include "server/module/claims.h"
#include "server/module/cluster.h"
#include "server/module/commands.h"
#include "server/module/events.h"
#include "server/module/host.h"
#include "server/module/info.h"
#include "server/module/inspect.h"
#include "server/module/live.h"

#define VERSION 1
/* More than there are settings. */
#define ARGUMENTS_MOST 128

/* ---- commands ---- */

/* Not deny-oom: at the memory limit a CLAIM still replays, and the module refuses what is new.
 * WAIT writes, so that a replica sends it to its master, which alone knows when to answer. */
static const struct row {
  const char *name;
  api_command *run;
  const char *flags;
  int key; /* where the key stands; 0: there is none */
} COMMANDS[] = {
    {"idem.claim", commands_claim, "write fast", 1},
    {"idem.store", commands_store, "write fast", 1},
    {"idem.renew", commands_renew, "write fast", 1},
    {"idem.release", commands_release, "write fast", 1},
    {"idem.fetch", commands_fetch, "readonly fast", 1},
    {"idem.wait", commands_wait, "write", 1},
    {"idem.await", commands_wait, "write", 1},
    {"idem.inspect", inspect_command, "readonly fast", 1},
    {"idem.claims", claims_command, "readonly", 0},
};

static bool create_commands(RedisModuleCtx *ctx) {
  for (size_t i = 0; i < sizeof COMMANDS / sizeof *COMMANDS; i++) {
    const struct row *row = &COMMANDS[i];
    int step = row->key != 0 ? 1 : 0;
    if (api.CreateCommand(ctx, row->name, row->run, row->flags, row->key, row->key, step) != API_OK)
      return false;
  }
  return true;
}

/* ---- state ---- */

static bool take_settings(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
  struct span arguments[ARGUMENTS_MOST];
  char error[SETTINGS_ERROR_BYTES];
  size_t count = argc < ARGUMENTS_MOST ? (size_t)argc : ARGUMENTS_MOST;
  for (size_t i = 0; i < count; i++)
    arguments[i].data = api.StringPtrLen(argv[i], &arguments[i].len);
  if (settings_parse(arguments, count, &host.settings, error)) return true;
  api.Log(ctx, "warning", "idem: %s", error);
  return false;
}

static bool begin_tokens(RedisModuleCtx *ctx, uint64_t random) {
  switch (tokens_init(&host.tokens, api.Milliseconds(), random)) {
    case TOKENS_CLOCK_LATE:
      api.Log(ctx, "warning", "idem: the clock says 2092 or later; set it first");
      return false;
    case TOKENS_CLOCK_EARLY:
      api.Log(ctx, "warning", "idem: the clock is before 2024; tokens begin at random");
      return true;
    case TOKENS_CLOCK_RIGHT:
    default: return true;
  }
}

static bool begin(RedisModuleCtx *ctx) {
  uint64_t random[2];
  api.GetRandomBytes((unsigned char *)random, sizeof random);
  if (!begin_tokens(ctx, random[0])) return false;
  int64_t now_ms = host.tokens.now_ms;
  forgotten_init(&host.forgotten, (size_t)host.settings.horizon_slots, random[1], now_ms);
  bool clustered = (api.GetContextFlags(ctx) & API_FLAGS_CLUSTER) != 0;
  slots_init(&host.slots, clustered ? api.Calloc(SLOTS_COUNT, sizeof(int64_t)) : NULL);
  waiters_init(&host.waiters, now_ms);
  bindings_init(&host.bindings);
  list_init(&host.undos);
  host.ctx = api.GetDetachedThreadSafeContext(ctx);
  host.pxat = api.CreateString(NULL, "PXAT", sizeof "PXAT" - 1);
  host.replica = (api.GetContextFlags(ctx) & API_FLAGS_REPLICA) != 0;
  return true;
}

static void warn_of_eviction(RedisModuleCtx *ctx) {
  if ((api.GetContextFlags(ctx) & API_FLAGS_EVICT) != 0)
    api.Log(ctx, "warning",
            "idem: maxmemory-policy evicts; no claim is granted until it is noeviction");
}

/* ---- the host's ---- */

int RedisModule_OnLoad(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
  const char *missing = api_load(ctx);
  if (missing != NULL) {
    fprintf(stderr, "idem: this server has no RedisModule_%s; Redis 7.0 has\n", missing);
    return API_ERR;
  }
  if (api.IsModuleNameBusy("idem")) return API_ERR;
  api.SetModuleAttribs(ctx, "idem", VERSION, API_VERSION);
  api.SetModuleOptions(ctx, API_OPTION_NO_IMPLICIT_SIGNAL_MODIFIED);
  if (!take_settings(ctx, argv, argc) || !begin(ctx)) return API_ERR;
  if (!create_commands(ctx) || !events_subscribe(ctx)) return API_ERR;
  if (!live_register(ctx, &host.settings)) return API_ERR;
  if (api.RegisterInfoFunc(ctx, info_section) != API_OK) return API_ERR;
  cluster_watch(&host);
  warn_of_eviction(ctx);
  return API_OK;
}

int RedisModule_OnUnload(RedisModuleCtx *ctx) {
  api.Log(ctx, "warning", "idem: the module stays; restart the server without it");
  return API_ERR;
}
