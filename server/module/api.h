/*
 * api.h - what the module uses of its host's interface.
 *
 * Redis and Valkey hand out functions by name at load, so no header of theirs is needed, and one
 * file serves both: Valkey answers to the names RedisModule_* too. A name is added by one line in
 * API_FUNCTIONS. The numbers are those of redismodule.h of Redis 7.0, which later versions and
 * Valkey keep.
 *
 * All functions are for the main thread only. `api` is written once, by api_load.
 */
#ifndef IDEM_SERVER_MODULE_API_H
#define IDEM_SERVER_MODULE_API_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define API_VERSION 1
#define API_OK 0
#define API_ERR 1

#define API_READ 1
#define API_WRITE 2
/* Of OpenKey: to look is no use of the key. (7.0 counts a hit all the same.) */
#define API_UNSEEN (1 << 16 | 1 << 17)

#define API_KEYTYPE_EMPTY 0
#define API_KEYTYPE_STRING 1

/* GetContextFlags */
#define API_FLAGS_REPLICA (1 << 3)
#define API_FLAGS_CLUSTER (1 << 5)
#define API_FLAGS_EVICT (1 << 9)
#define API_FLAGS_OOM (1 << 10)
#define API_FLAGS_DENY_BLOCKING (1 << 21)

/* SubscribeToKeyspaceEvents */
#define API_NOTIFY_GENERIC (1 << 2)
#define API_NOTIFY_STRING (1 << 3)
#define API_NOTIFY_EXPIRED (1 << 8)
#define API_NOTIFY_EVICTED (1 << 9)
#define API_NOTIFY_LOADED (1 << 12)

/* SubscribeToServerEvent, and what `subevent` then is */
#define API_EVENT_VERSION 1
#define API_EVENT_ROLE 0
#define API_ROLE_NOW_MASTER 0
#define API_EVENT_FLUSH 2
#define API_FLUSH_END 1
#define API_EVENT_LOADING 3
#define API_LOADING_ENDED 3
#define API_LOADING_FAILED 4
#define API_EVENT_CLIENT 4
#define API_CLIENT_DISCONNECTED 1
#define API_EVENT_SWAPDB 11
#define API_EVENT_KEY 17 /* from Redis 7.2 on, and Valkey */
#define API_KEY_EXPIRED 1

#define API_OPTION_NO_IMPLICIT_SIGNAL_MODIFIED (1 << 1)

typedef struct RedisModuleCtx RedisModuleCtx;
typedef struct RedisModuleKey RedisModuleKey;
typedef struct RedisModuleString RedisModuleString;
typedef struct RedisModuleBlockedClient RedisModuleBlockedClient;
typedef struct RedisModuleDict RedisModuleDict;
typedef struct RedisModuleDictIter RedisModuleDictIter;
typedef struct RedisModuleCallReply RedisModuleCallReply;
typedef struct RedisModuleInfoCtx RedisModuleInfoCtx;
typedef struct RedisModuleScanCursor RedisModuleScanCursor;
typedef uint64_t RedisModuleTimerID;
typedef struct RedisModuleEvent {
  uint64_t id, version;
} RedisModuleEvent;
/* The data of API_EVENT_CLIENT, as far as it is read here. */
struct api_client_info {
  uint64_t version, flags, id;
};
/* The data of API_EVENT_FLUSH. */
struct api_flush_info {
  uint64_t version;
  int32_t sync, db; /* db: -1: all */
};
/* The data of API_EVENT_KEY. */
struct api_key_info {
  uint64_t version;
  RedisModuleKey *key;
};

typedef int api_command(RedisModuleCtx *ctx, RedisModuleString **argv, int argc);
typedef void api_free(RedisModuleCtx *ctx, void *data);
typedef void api_disconnected(RedisModuleCtx *ctx, RedisModuleBlockedClient *client);
typedef void api_timer(RedisModuleCtx *ctx, void *data);
typedef void api_one_shot(void *data);
typedef int api_notified(RedisModuleCtx *ctx, int type, const char *event, RedisModuleString *key);
typedef void api_event(RedisModuleCtx *ctx, RedisModuleEvent event, uint64_t subevent, void *data);
typedef void api_scanned(RedisModuleCtx *ctx, RedisModuleString *name, RedisModuleKey *key,
                         void *data);
typedef long long api_get_number(const char *name, void *setting);
typedef int api_set_number(const char *name, long long value, void *setting,
                           RedisModuleString **error);
typedef void api_info(RedisModuleInfoCtx *info, int for_crash_report);

/* clang-format off */
#define API_FUNCTIONS(F) \
  /* the module itself */ \
  F(void, SetModuleAttribs, (RedisModuleCtx *, const char *, int, int)) \
  F(int, IsModuleNameBusy, (const char *)) \
  F(void, SetModuleOptions, (RedisModuleCtx *, int)) \
  F(int, CreateCommand, (RedisModuleCtx *, const char *, api_command *, const char *, int, int, int)) \
  F(int, RegisterInfoFunc, (RedisModuleCtx *, api_info *)) \
  F(int, InfoAddSection, (RedisModuleInfoCtx *, const char *)) \
  F(int, InfoAddFieldULongLong, (RedisModuleInfoCtx *, const char *, unsigned long long)) \
  F(void, Log, (RedisModuleCtx *, const char *, const char *, ...)) \
  F(int, RegisterNumericConfig, (RedisModuleCtx *, const char *, long long, unsigned, long long, long long, \
                                 api_get_number *, api_set_number *, void *, void *)) \
  F(int, LoadConfigs, (RedisModuleCtx *)) \
  /* memory, counted by the host; none of these fails */ \
  F(void *, Alloc, (size_t)) \
  F(void *, Calloc, (size_t, size_t)) \
  F(void, Free, (void *)) \
  /* replies */ \
  F(int, WrongArity, (RedisModuleCtx *)) \
  F(int, ReplyWithLongLong, (RedisModuleCtx *, long long)) \
  F(int, ReplyWithError, (RedisModuleCtx *, const char *)) \
  F(int, ReplyWithArray, (RedisModuleCtx *, long)) \
  F(int, ReplyWithMap, (RedisModuleCtx *, long)) \
  F(int, ReplyWithNull, (RedisModuleCtx *)) \
  F(int, ReplyWithNullArray, (RedisModuleCtx *)) \
  F(int, ReplyWithStringBuffer, (RedisModuleCtx *, const char *, size_t)) \
  /* strings and keys */ \
  F(const char *, StringPtrLen, (const RedisModuleString *, size_t *)) \
  F(RedisModuleString *, CreateString, (RedisModuleCtx *, const char *, size_t)) \
  F(void, FreeString, (RedisModuleCtx *, RedisModuleString *)) \
  F(int, GetSelectedDb, (RedisModuleCtx *)) \
  F(int, SelectDb, (RedisModuleCtx *, int)) \
  F(RedisModuleKey *, OpenKey, (RedisModuleCtx *, RedisModuleString *, int)) \
  F(void, CloseKey, (RedisModuleKey *)) \
  F(int, KeyType, (RedisModuleKey *)) \
  F(size_t, ValueLength, (RedisModuleKey *)) \
  F(char *, StringDMA, (RedisModuleKey *, size_t *, int)) \
  F(int, StringSet, (RedisModuleKey *, RedisModuleString *)) \
  F(int, DeleteKey, (RedisModuleKey *)) \
  F(int, SetAbsExpire, (RedisModuleKey *, long long)) \
  F(const RedisModuleString *, GetKeyNameFromModuleKey, (RedisModuleKey *)) \
  F(int, SignalModifiedKey, (RedisModuleCtx *, RedisModuleString *)) \
  F(int, Replicate, (RedisModuleCtx *, const char *, const char *, ...)) \
  F(RedisModuleScanCursor *, ScanCursorCreate, (void)) \
  F(void, ScanCursorDestroy, (RedisModuleScanCursor *)) \
  F(int, Scan, (RedisModuleCtx *, RedisModuleScanCursor *, api_scanned *, void *)) \
  /* commands of the host */ \
  F(RedisModuleCallReply *, Call, (RedisModuleCtx *, const char *, const char *, ...)) \
  F(const char *, CallReplyStringPtr, (RedisModuleCallReply *, size_t *)) \
  F(void, FreeCallReply, (RedisModuleCallReply *)) \
  /* state of the host */ \
  F(long long, Milliseconds, (void)) \
  F(int, GetContextFlags, (RedisModuleCtx *)) \
  F(int, AvoidReplicaTraffic, (void)) \
  F(RedisModuleCtx *, GetDetachedThreadSafeContext, (RedisModuleCtx *)) \
  F(void, GetRandomBytes, (unsigned char *, size_t)) \
  /* clients that wait */ \
  F(unsigned long long, GetClientId, (RedisModuleCtx *)) \
  F(RedisModuleBlockedClient *, BlockClient, (RedisModuleCtx *, api_command *, api_command *, api_free *, long long)) \
  F(RedisModuleBlockedClient *, BlockClientOnKeys, \
    (RedisModuleCtx *, api_command *, api_command *, api_free *, long long, RedisModuleString **, int, void *)) \
  F(int, UnblockClient, (RedisModuleBlockedClient *, void *)) \
  F(void *, GetBlockedClientPrivateData, (RedisModuleCtx *)) \
  F(void, SetDisconnectCallback, (RedisModuleBlockedClient *, api_disconnected *)) \
  /* time and events */ \
  F(RedisModuleTimerID, CreateTimer, (RedisModuleCtx *, long long, api_timer *, void *)) \
  F(int, StopTimer, (RedisModuleCtx *, RedisModuleTimerID, void **)) \
  F(int, EventLoopAddOneShot, (api_one_shot *, void *)) \
  F(int, SubscribeToKeyspaceEvents, (RedisModuleCtx *, int, api_notified *)) \
  F(int, SubscribeToServerEvent, (RedisModuleCtx *, RedisModuleEvent, api_event *)) \
  /* dictionaries, in the order of their keys' bytes */ \
  F(RedisModuleDict *, CreateDict, (RedisModuleCtx *)) \
  F(void, FreeDict, (RedisModuleCtx *, RedisModuleDict *)) \
  F(uint64_t, DictSize, (RedisModuleDict *)) \
  F(int, DictSetC, (RedisModuleDict *, void *, size_t, void *)) \
  F(void *, DictGetC, (RedisModuleDict *, void *, size_t, int *)) \
  F(int, DictDelC, (RedisModuleDict *, void *, size_t, void *)) \
  F(RedisModuleDictIter *, DictIteratorStartC, (RedisModuleDict *, const char *, void *, size_t)) \
  F(void *, DictNextC, (RedisModuleDictIter *, size_t *, void **)) \
  F(void *, DictPrevC, (RedisModuleDictIter *, size_t *, void **)) \
  F(void, DictIteratorStop, (RedisModuleDictIter *))

#define API_FIELD(result, name, parameters) result (*name) parameters;
/* clang-format on */
struct api {
  API_FUNCTIONS(API_FIELD)
};
extern struct api api;

/* NULL: all were found. Else the name of the first one that the host has not. */
const char *api_load(RedisModuleCtx *ctx);

#endif
