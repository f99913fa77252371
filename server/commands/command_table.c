/*
 * command_table.c - every command, one row each. See command.h for what follows from a row,
 * lookup.h for how one is found.
 *
 * The syntax is that of usage.h, for COMMAND DOCS.
 */
#include "server/commands/command_table.h"

#include "server/commands/acl.h"
#include "server/commands/argument_limits.h"
#include "server/commands/clients.h"
#include "server/commands/config.h"
#include "server/commands/connection.h"
#include "server/commands/expire.h"
#include "server/commands/generic.h"
#include "server/commands/idempotency.h"
#include "server/commands/info.h"
#include "server/commands/inspect.h"
#include "server/commands/introspection.h"
#include "server/commands/latency.h"
#include "server/commands/mget.h"
#include "server/commands/monitor.h"
#include "server/commands/pubsub.h"
#include "server/commands/scan.h"
#include "server/commands/server.h"
#include "server/commands/silence.h"
#include "server/commands/slowlog.h"
#include "server/commands/strings.h"
#include "server/commands/transaction.h"

#define READS COMMAND_READS
#define WRITES COMMAND_WRITES
#define WAITS COMMAND_WAITS
#define ADMIN COMMAND_ADMIN
#define OPEN COMMAND_BEFORE_AUTH
#define FAST COMMAND_FAST
#define LISTENING COMMAND_PUBSUB
#define NOT_QUEUED COMMAND_NOT_QUEUED
#define NOT_IN_MULTI COMMAND_NOT_IN_MULTI
#define LOADS COMMAND_LOADS_MEMORY
#define IDEM COMMAND_IDEM
#define CONTAINER COMMAND_CONTAINER
#define ALL_KEYS COMMAND_ALL_KEYS
#define STOPS COMMAND_STOPS
#define SPREADS COMMAND_SPREADS
#define RUNS_QUEUE COMMAND_RUNS_QUEUE
#define ADOPTS_BODY COMMAND_ADOPTS_BODY
#define INSPECTS COMMAND_INSPECTS
#define FREES COMMAND_FREES
#define WHOLE COMMAND_NEEDS_ALL_KEYS
#define CHANNELS COMMAND_CHANNELS
#define PATTERNS COMMAND_CHANNEL_PATTERNS
#define SLICES COMMAND_SLICES

_Static_assert(COMMAND_BODY == REQUEST_STORE_BODY, "where STORE has its body");

/* clang-format off */
const struct command command_table_commands[] = {
    /* name, handler, arity, flags, first key, last key, step, limit, group, syntax, summary */

    /* idempotency */
    {"CLAIM", idempotency_claim, -2, WRITES | WAITS | LOADS | FAST | IDEM, 1, 1, 1, idempotency_limit, GROUP_IDEM,
     "key [FP fingerprint] [OWNER id] [LEASE milliseconds] [WAIT milliseconds] [BORN unix-time-milliseconds] [BIND] [HOLD] [TAKEOVER token]",
     "Answers whether the caller runs the work of a key, replays it, waits for it, or is refused"},
    {"STORE", idempotency_store, -4, WRITES | FAST | IDEM | ADOPTS_BODY, 1, 1, 1, idempotency_store_limit, GROUP_IDEM,
     "key token body [TTL milliseconds] [META blob] [UNSURE | CLEAR]", "Stores the response of a claim and answers all who wait for it"},
    {"RENEW", idempotency_renew, -3, WRITES | FAST | IDEM, 1, 1, 1, idempotency_limit, GROUP_IDEM,
     "key token [LEASE milliseconds] [STAGE blob]", "Extends the lease of a claim; may note how far the work has come"},
    {"RELEASE", idempotency_release, -3, WRITES | FAST | IDEM, 1, 1, 1, idempotency_limit, GROUP_IDEM,
     "key token [UNSURE | CLEAR]", "Gives a claim back without a response"},
    {"FETCH", idempotency_fetch, -2, READS | FAST | IDEM, 1, 1, 1, idempotency_limit, GROUP_IDEM,
     "key [FP fingerprint]", "Tells the state of a key without claiming it"},
    {"WAIT", idempotency_wait, -3, READS | WAITS | IDEM, 1, 1, 1, idempotency_limit, GROUP_IDEM,
     "key milliseconds [FP fingerprint]", "As FETCH, but waits while another caller runs the work"},
    {"AWAIT", idempotency_wait, -3, READS | WAITS | IDEM, 1, 1, 1, idempotency_limit, GROUP_IDEM,
     "key milliseconds [FP fingerprint]", "The same as WAIT, for clients that own that word"},
    {"INSPECT", inspect_command, 2, READS | FAST | IDEM | INSPECTS, 1, 1, 1, NULL, GROUP_IDEM, "key",
     "Shows what is kept of a key, but for the response itself"},
    {"CLAIMS", inspect_claims, -1, READS | IDEM | INSPECTS, 0, 0, 0, inspect_claims_limit, GROUP_IDEM,
     "[STATE state] [PREFIX text] [OLDER milliseconds] [AFTER token] [COUNT count]",
     "Lists the claims without a response, in the order of their tokens"},

    /* keys of either kind */
    {"DEL", generic_del, -2, WRITES | FREES, 1, -1, 1, NULL, GROUP_GENERIC, "key...", "Deletes keys"},
    {"UNLINK", generic_del, -2, WRITES | FREES | FAST, 1, -1, 1, NULL, GROUP_GENERIC, "key...", "Deletes keys"},
    {"EXISTS", generic_exists, -2, READS | FAST, 1, -1, 1, NULL, GROUP_GENERIC, "key...", "Counts how many of the keys exist"},
    {"TOUCH", generic_exists, -2, READS | FAST, 1, -1, 1, NULL, GROUP_GENERIC, "key...", "Counts how many of the keys exist"},
    {"TYPE", generic_type, 2, READS | FAST, 1, 1, 1, NULL, GROUP_GENERIC, "key", "Tells the kind of a key: idem, string or none"},
    {"TTL", expire_ttl, 2, READS | FAST, 1, 1, 1, NULL, GROUP_GENERIC, "key", "Tells in how many seconds a key expires"},
    {"PTTL", expire_pttl, 2, READS | FAST, 1, 1, 1, NULL, GROUP_GENERIC, "key", "Tells in how many milliseconds a key expires"},
    {"EXPIRETIME", expire_expiretime, 2, READS | FAST, 1, 1, 1, NULL, GROUP_GENERIC, "key", "Tells the unix time in seconds at which a key expires"},
    {"PEXPIRETIME", expire_pexpiretime, 2, READS | FAST, 1, 1, 1, NULL, GROUP_GENERIC, "key",
     "Tells the unix time in milliseconds at which a key expires"},
    {"EXPIRE", expire_expire, -3, WRITES | FAST, 1, 1, 1, NULL, GROUP_GENERIC, "key seconds [NX|XX|GT|LT]",
     "Sets in how many seconds a key expires"},
    {"PEXPIRE", expire_pexpire, -3, WRITES | FAST, 1, 1, 1, NULL, GROUP_GENERIC, "key milliseconds [NX|XX|GT|LT]",
     "Sets in how many milliseconds a key expires"},
    {"EXPIREAT", expire_expireat, -3, WRITES | FAST, 1, 1, 1, NULL, GROUP_GENERIC, "key unix-time-seconds [NX|XX|GT|LT]",
     "Sets the unix time in seconds at which a key expires"},
    {"PEXPIREAT", expire_pexpireat, -3, WRITES | FAST, 1, 1, 1, NULL, GROUP_GENERIC, "key unix-time-milliseconds [NX|XX|GT|LT]",
     "Sets the unix time in milliseconds at which a key expires"},
    {"PERSIST", expire_persist, 2, WRITES | FAST, 1, 1, 1, NULL, GROUP_GENERIC, "key", "Keeps a string until it is deleted"},
    {"KEYS", scan_keys, 2, READS, 0, 0, 0, argument_limits_pattern, GROUP_GENERIC, "pattern", "Lists all keys that match a glob"},
    {"SCAN", scan_from, -2, READS, 0, 0, 0, argument_limits_pattern, GROUP_GENERIC, "cursor [MATCH pattern] [COUNT count] [TYPE type]",
     "Lists keys, some at each call"},
    {"RANDOMKEY", scan_randomkey, 1, READS | ALL_KEYS | WHOLE, 0, 0, 0, NULL, GROUP_GENERIC, "", "Tells some key"},
    {"OBJECT", NULL, -2, CONTAINER, 0, 0, 0, NULL, GROUP_GENERIC, "", "Commands about what a key holds"},
    {"OBJECT|ENCODING", generic_object_encoding, 3, READS, 2, 2, 1, NULL, GROUP_GENERIC, "key", "Tells how Redis would keep the value"},
    {"OBJECT|REFCOUNT", generic_object_refcount, 3, READS, 2, 2, 1, NULL, GROUP_GENERIC, "key", "Answers 1 for a key that exists"},
    {"OBJECT|FREQ", generic_object_freq, 3, READS, 2, 2, 1, NULL, GROUP_GENERIC, "key", "Refused: nothing is evicted, so nothing is counted"},
    {"OBJECT|IDLETIME", generic_object_idletime, 3, READS, 2, 2, 1, NULL, GROUP_GENERIC, "key",
     "Refused: nothing is evicted, so nothing is noted"},
    {"OBJECT|HELP", introspection_container_help, 2, 0, 0, 0, 0, NULL, GROUP_GENERIC, "", "Lists the subcommands"},
    {"MEMORY", NULL, -2, CONTAINER, 0, 0, 0, NULL, GROUP_SERVER, "", "Commands about memory"},
    {"MEMORY|USAGE", generic_memory_usage, -3, READS, 2, 2, 1, NULL, GROUP_SERVER, "key [SAMPLES count]", "Counts the bytes that a key takes"},
    {"MEMORY|HELP", introspection_container_help, 2, 0, 0, 0, 0, NULL, GROUP_SERVER, "", "Lists the subcommands"},

    /* strings */
    {"SET", strings_set, -3, WRITES | LOADS, 1, 1, 1, NULL, GROUP_STRING,
     "key value [NX|XX|IFEQ comparison-value] [GET] [EX seconds|PX milliseconds|EXAT unix-time-seconds|PXAT unix-time-milliseconds|KEEPTTL]",
     "Sets a string, on a condition if one is given"},
    {"SETNX", strings_setnx, 3, WRITES | LOADS | FAST, 1, 1, 1, NULL, GROUP_STRING, "key value", "Sets a string when the key does not exist"},
    {"SETEX", strings_setex, 4, WRITES | LOADS, 1, 1, 1, NULL, GROUP_STRING, "key seconds value", "Sets a string that expires"},
    {"PSETEX", strings_psetex, 4, WRITES | LOADS, 1, 1, 1, NULL, GROUP_STRING, "key milliseconds value", "Sets a string that expires"},
    {"GET", strings_get, 2, READS | FAST, 1, 1, 1, NULL, GROUP_STRING, "key", "Reads a string, or the response stored under a key"},
    {"MGET", mget_command, -2, READS | FAST | SLICES, 1, -1, 1, NULL, GROUP_STRING, "key...",
     "Reads strings, or the responses stored under keys"},
    {"GETSET", strings_getset, 3, WRITES | LOADS | FAST, 1, 1, 1, NULL, GROUP_STRING, "key value", "Sets a string and answers the former one"},
    {"GETEX", strings_getex, -2, WRITES | FAST, 1, 1, 1, NULL, GROUP_STRING,
     "key [EX seconds|PX milliseconds|EXAT unix-time-seconds|PXAT unix-time-milliseconds|PERSIST]", "Reads a string and sets when it expires"},
    {"GETDEL", strings_getdel, 2, WRITES | FREES | FAST, 1, 1, 1, NULL, GROUP_STRING, "key", "Reads a string and deletes it"},
    {"STRLEN", strings_strlen, 2, READS | FAST, 1, 1, 1, NULL, GROUP_STRING, "key", "Tells the length of a string"},
    {"DELIFEQ", strings_delifeq, 3, WRITES | FREES | FAST, 1, 1, 1, NULL, GROUP_STRING, "key value", "Deletes a string that equals the value"},
    {"DELEX", strings_delex, -2, WRITES | FREES | FAST, 1, 1, 1, NULL, GROUP_STRING, "key [IFEQ comparison-value]",
     "Deletes a key, or a string that equals the value"},

    /* pub/sub */
    {"SUBSCRIBE", pubsub_subscribe, -2, LISTENING | CHANNELS, 0, 0, 0, pubsub_name_limit, GROUP_PUBSUB, "channel...", "Listens to channels"},
    {"UNSUBSCRIBE", pubsub_unsubscribe, -1, LISTENING, 0, 0, 0, pubsub_name_limit, GROUP_PUBSUB, "[channel...]",
     "Stops listening to channels, or to all of them"},
    {"PSUBSCRIBE", pubsub_psubscribe, -2, LISTENING | PATTERNS, 0, 0, 0, pubsub_name_limit, GROUP_PUBSUB, "pattern...",
     "Listens to all channels that match the patterns"},
    {"PUNSUBSCRIBE", pubsub_punsubscribe, -1, LISTENING, 0, 0, 0, pubsub_name_limit, GROUP_PUBSUB, "[pattern...]",
     "Stops listening to patterns, or to all of them"},
    {"PUBLISH", pubsub_publish_command, 3, FAST | SPREADS | CHANNELS, 0, 0, 0, pubsub_publish_limit, GROUP_PUBSUB, "channel message",
     "Sends a message to all subscribers of a channel"},
    {"PUBSUB", NULL, -2, CONTAINER, 0, 0, 0, NULL, GROUP_PUBSUB, "", "Commands about channels"},
    {"PUBSUB|CHANNELS", pubsub_channels_command, -2, STOPS, 0, 0, 0, pubsub_name_limit, GROUP_PUBSUB, "[pattern]",
     "Lists the channels that have subscribers"},
    {"PUBSUB|NUMSUB", pubsub_numsub_command, -2, STOPS, 0, 0, 0, pubsub_name_limit, GROUP_PUBSUB, "[channel...]",
     "Counts the subscribers of channels"},
    {"PUBSUB|NUMPAT", pubsub_numpat_command, 2, STOPS, 0, 0, 0, NULL, GROUP_PUBSUB, "", "Counts the patterns that have subscribers"},
    {"PUBSUB|HELP", introspection_container_help, 2, 0, 0, 0, 0, NULL, GROUP_PUBSUB, "", "Lists the subcommands"},

    /* transactions */
    {"MULTI", transaction_multi, 1, FAST | NOT_QUEUED, 0, 0, 0, NULL, GROUP_TRANSACTIONS, "", "Begins to queue commands for EXEC"},
    {"EXEC", transaction_exec, 1, NOT_QUEUED | RUNS_QUEUE, 0, 0, 0, NULL, GROUP_TRANSACTIONS, "",
     "Runs the queued commands without another one between them"},
    {"DISCARD", transaction_discard_command, 1, FAST | NOT_QUEUED, 0, 0, 0, NULL, GROUP_TRANSACTIONS, "", "Forgets the queued commands"},
    {"WATCH", transaction_watch, -2, FAST | NOT_QUEUED, 1, -1, 1, NULL, GROUP_TRANSACTIONS, "key...", "Is refused: there is nothing to watch"},
    {"UNWATCH", transaction_unwatch, 1, FAST, 0, 0, 0, NULL, GROUP_TRANSACTIONS, "", "Does nothing, for programs that send it"},

    /* connection */
    {"HELLO", connection_hello, -1, OPEN | FAST | LISTENING, 0, 0, 0, NULL, GROUP_CONNECTION,
     "[protover [AUTH username password] [SETNAME clientname]]", "Chooses the protocol version; may authenticate and name the connection"},
    {"AUTH", connection_auth, -2, OPEN | FAST, 0, 0, 0, NULL, GROUP_CONNECTION, "[username] password", "Authenticates the connection"},
    {"PING", connection_ping, -1, FAST | LISTENING, 0, 0, 0, NULL, GROUP_CONNECTION, "[message]", "Answers PONG, or the message"},
    {"ECHO", connection_echo, 2, FAST, 0, 0, 0, NULL, GROUP_CONNECTION, "message", "Answers the message"},
    {"SELECT", connection_select, 2, FAST, 0, 0, 0, NULL, GROUP_CONNECTION, "index", "Accepts database 0, the only one"},
    {"QUIT", connection_quit, -1, OPEN | FAST | NOT_QUEUED | LISTENING, 0, 0, 0, NULL, GROUP_CONNECTION, "", "Closes the connection"},
    {"RESET", connection_reset, 1, OPEN | FAST | NOT_QUEUED | LISTENING, 0, 0, 0, NULL, GROUP_CONNECTION, "",
     "Puts the connection back to how it was when it was opened"},
    {"CLIENT", NULL, -2, CONTAINER, 0, 0, 0, NULL, GROUP_CONNECTION, "", "Commands about connections"},
    {"CLIENT|ID", connection_client_id, 2, FAST, 0, 0, 0, NULL, GROUP_CONNECTION, "", "Tells the number of the connection"},
    {"CLIENT|SETNAME", connection_client_setname, 3, FAST, 0, 0, 0, NULL, GROUP_CONNECTION, "connection-name", "Names the connection"},
    {"CLIENT|GETNAME", connection_client_getname, 2, FAST, 0, 0, 0, NULL, GROUP_CONNECTION, "", "Tells the name of the connection"},
    {"CLIENT|SETINFO", connection_client_setinfo, 4, FAST, 0, 0, 0, NULL, GROUP_CONNECTION, "LIB-NAME libname|LIB-VER libver",
     "Notes the client library"},
    {"CLIENT|INFO", clients_info, 2, 0, 0, 0, 0, NULL, GROUP_CONNECTION, "", "Describes the connection"},
    {"CLIENT|LIST", clients_list, -2, ADMIN | STOPS, 0, 0, 0, NULL, GROUP_CONNECTION,
     "[TYPE normal|TYPE master|TYPE replica|TYPE pubsub|ID client-id...]", "Describes connections"},
    {"CLIENT|KILL", clients_kill, -3, ADMIN | STOPS, 0, 0, 0, NULL, GROUP_CONNECTION,
     "ip:port|[ID client-id] [TYPE type] [USER username] [ADDR ip:port] [LADDR ip:port] [SKIPME yes-or-no]", "Closes connections"},
    {"CLIENT|PAUSE", clients_pause, -3, ADMIN | STOPS | WHOLE, 0, 0, 0, NULL, GROUP_CONNECTION, "milliseconds [WRITE|ALL]",
     "Holds commands back for a while"},
    {"CLIENT|UNPAUSE", clients_unpause, 2, ADMIN | STOPS | WHOLE, 0, 0, 0, NULL, GROUP_CONNECTION, "", "Ends CLIENT PAUSE"},
    {"CLIENT|REPLY", silence_command, 3, FAST | NOT_IN_MULTI, 0, 0, 0, NULL, GROUP_CONNECTION, "ON|OFF|SKIP", "Switches the replies on and off"},
    {"CLIENT|UNBLOCK", clients_unblock, -3, ADMIN | STOPS, 0, 0, 0, NULL, GROUP_CONNECTION, "client-id [TIMEOUT]",
     "Ends the wait of a connection"},
    {"CLIENT|NO-EVICT", clients_switch, 3, ADMIN, 0, 0, 0, NULL, GROUP_CONNECTION, "ON|OFF", "Taken; no connection is evicted"},
    {"CLIENT|NO-TOUCH", clients_switch, 3, FAST, 0, 0, 0, NULL, GROUP_CONNECTION, "ON|OFF", "Taken; no access time is kept"},
    {"CLIENT|TRACKING", clients_tracking, -3, FAST, 0, 0, 0, NULL, GROUP_CONNECTION,
     "on-or-off [REDIRECT client-id] [PREFIX prefix...] [BCAST] [OPTIN] [OPTOUT] [NOLOOP]", "Only OFF: nothing is tracked"},
    {"CLIENT|CACHING", clients_caching, 3, FAST, 0, 0, 0, NULL, GROUP_CONNECTION, "YES|NO", "Is refused: nothing is tracked"},
    {"CLIENT|GETREDIR", clients_getredir, 2, FAST, 0, 0, 0, NULL, GROUP_CONNECTION, "", "Always -1: nothing is tracked"},
    {"READONLY", server_no_cluster, 1, FAST, 0, 0, 0, NULL, GROUP_CONNECTION, "", "Is refused: this is no cluster"},
    {"CLUSTER", server_no_cluster, -2, FAST, 0, 0, 0, NULL, GROUP_CONNECTION, "subcommand [arg...]", "Is refused: this is no cluster"},
    {"ASKING", server_no_cluster, 1, FAST, 0, 0, 0, NULL, GROUP_CONNECTION, "", "Is refused: this is no cluster"},
    {"READWRITE", server_no_cluster, 1, FAST, 0, 0, 0, NULL, GROUP_CONNECTION, "", "Is refused: this is no cluster"},
    {"CLIENT|HELP", introspection_container_help, 2, 0, 0, 0, 0, NULL, GROUP_CONNECTION, "", "Lists the subcommands"},

    /* server */
    {"COMMAND", introspection_command, -1, CONTAINER, 0, 0, 0, NULL, GROUP_SERVER, "", "Describes all commands"},
    {"COMMAND|COUNT", introspection_count, 2, 0, 0, 0, 0, NULL, GROUP_SERVER, "", "Counts the commands"},
    {"COMMAND|INFO", introspection_info, -2, 0, 0, 0, 0, NULL, GROUP_SERVER, "[command-name...]", "Describes commands"},
    {"COMMAND|LIST", introspection_list, -2, 0, 0, 0, 0, argument_limits_pattern, GROUP_SERVER, "[FILTERBY MODULE module-name|ACLCAT category|PATTERN pattern]",
     "Lists the names of commands"},
    {"COMMAND|DOCS", introspection_docs, -2, 0, 0, 0, 0, NULL, GROUP_SERVER, "[command-name...]", "Documents commands"},
    {"COMMAND|GETKEYS", introspection_getkeys, -3, 0, 0, 0, 0, NULL, GROUP_SERVER, "command [arg...]", "Tells the keys in a command"},
    {"COMMAND|HELP", introspection_container_help, 2, 0, 0, 0, 0, NULL, GROUP_SERVER, "", "Lists the subcommands"},
    {"INFO", info_command, -1, STOPS, 0, 0, 0, NULL, GROUP_SERVER, "[section...]", "Figures about the server"},
    {"CONFIG", NULL, -2, CONTAINER, 0, 0, 0, NULL, GROUP_SERVER, "", "Commands about the settings"},
    {"CONFIG|GET", config_get, -3, ADMIN | WHOLE, 0, 0, 0, argument_limits_pattern, GROUP_SERVER, "parameter...", "Tells settings, by name or glob"},
    {"CONFIG|SET", config_set, -4, ADMIN | STOPS | WHOLE, 0, 0, 0, NULL, GROUP_SERVER, "parameter value...", "Changes settings, all or none"},
    {"CONFIG|RESETSTAT", config_resetstat, 2, ADMIN | STOPS | WHOLE, 0, 0, 0, NULL, GROUP_SERVER, "", "Sets the counters of INFO to 0"},
    {"CONFIG|REWRITE", config_rewrite, 2, ADMIN | STOPS | WHOLE, 0, 0, 0, NULL, GROUP_SERVER, "", "Writes the settings to the configuration file"},
    {"CONFIG|HELP", introspection_container_help, 2, 0, 0, 0, 0, NULL, GROUP_SERVER, "", "Lists the subcommands"},
    {"DBSIZE", generic_dbsize, 1, READS | FAST | ALL_KEYS | WHOLE, 0, 0, 0, NULL, GROUP_SERVER, "", "Counts the keys"},
    {"TIME", server_time, 1, FAST, 0, 0, 0, NULL, GROUP_SERVER, "", "Tells the unix time in seconds and microseconds"},
    {"SLOWLOG", NULL, -2, CONTAINER, 0, 0, 0, NULL, GROUP_SERVER, "", "Commands about commands that took long"},
    {"SLOWLOG|GET", slowlog_get, -2, ADMIN, 0, 0, 0, NULL, GROUP_SERVER, "[count]", "Tells the latest commands that took long"},
    {"SLOWLOG|LEN", slowlog_len, 2, ADMIN, 0, 0, 0, NULL, GROUP_SERVER, "", "Counts the commands that are kept"},
    {"SLOWLOG|RESET", slowlog_reset, 2, ADMIN, 0, 0, 0, NULL, GROUP_SERVER, "", "Forgets the commands that are kept"},
    {"SLOWLOG|HELP", introspection_container_help, 2, 0, 0, 0, 0, NULL, GROUP_SERVER, "", "Lists the subcommands"},
    {"LATENCY", NULL, -2, CONTAINER, 0, 0, 0, NULL, GROUP_SERVER, "", "Commands about latency: how long commands took; no events are sampled"},
    {"LATENCY|HISTOGRAM", latency_histogram, -2, ADMIN | STOPS, 0, 0, 0, NULL, GROUP_SERVER, "[command...]",
     "Tells how many calls of commands took less than powers of two of a microsecond"},
    {"LATENCY|LATEST", server_latency_none, 2, ADMIN, 0, 0, 0, NULL, GROUP_SERVER, "", "Always empty"},
    {"LATENCY|HISTORY", server_latency_none, 3, ADMIN, 0, 0, 0, NULL, GROUP_SERVER, "event", "Always empty"},
    {"LATENCY|RESET", server_latency_reset, -2, ADMIN, 0, 0, 0, NULL, GROUP_SERVER, "[event...]", "Always 0"},
    {"LATENCY|HELP", introspection_container_help, 2, 0, 0, 0, 0, NULL, GROUP_SERVER, "", "Lists the subcommands"},
    {"DEBUG", NULL, -2, CONTAINER, 0, 0, 0, NULL, GROUP_SERVER, "", "Commands for tests; refused unless enable-debug-command is set"},
    {"DEBUG|SLEEP", server_debug_sleep, 3, ADMIN | STOPS | WHOLE, 0, 0, 0, NULL, GROUP_SERVER, "seconds", "Stops the whole server for a while"},
    {"DEBUG|HELP", introspection_container_help, 2, 0, 0, 0, 0, NULL, GROUP_SERVER, "", "Lists the subcommands"},
    {"FUNCTION", NULL, -2, CONTAINER, 0, 0, 0, NULL, GROUP_SERVER, "", "For programs that flush functions before they begin"},
    {"FUNCTION|FLUSH", server_no_scripts, -2, WRITES, 0, 0, 0, NULL, GROUP_SERVER, "[ASYNC|SYNC]", "Does nothing: there are none"},
    {"FUNCTION|HELP", introspection_container_help, 2, 0, 0, 0, 0, NULL, GROUP_SERVER, "", "Lists the subcommands"},
    {"SCRIPT", NULL, -2, CONTAINER, 0, 0, 0, NULL, GROUP_SERVER, "", "For programs that flush scripts before they begin"},
    {"SCRIPT|FLUSH", server_no_scripts, -2, WRITES, 0, 0, 0, NULL, GROUP_SERVER, "[ASYNC|SYNC]", "Does nothing: there are none"},
    {"SCRIPT|HELP", introspection_container_help, 2, 0, 0, 0, 0, NULL, GROUP_SERVER, "", "Lists the subcommands"},
    {"MODULE", NULL, -2, CONTAINER, 0, 0, 0, NULL, GROUP_SERVER, "", "For programs that ask for modules"},
    {"MODULE|LIST", server_no_modules, 2, ADMIN, 0, 0, 0, NULL, GROUP_SERVER, "", "Always empty"},
    {"MODULE|HELP", introspection_container_help, 2, 0, 0, 0, 0, NULL, GROUP_SERVER, "", "Lists the subcommands"},
    {"ROLE", server_role, 1, FAST, 0, 0, 0, NULL, GROUP_SERVER, "", "Always a master without replicas"},
    {"ACL", NULL, -2, CONTAINER, 0, 0, 0, NULL, GROUP_SERVER, "", "Commands about users"},
    {"ACL|SETUSER", acl_setuser, -3, ADMIN | STOPS | WHOLE, 0, 0, 0, NULL, GROUP_SERVER, "username [rule...]", "Makes or changes a user"},
    {"ACL|GETUSER", acl_getuser, 3, ADMIN | WHOLE, 0, 0, 0, NULL, GROUP_SERVER, "username", "Describes a user"},
    {"ACL|DELUSER", acl_deluser, -3, ADMIN | STOPS | WHOLE, 0, 0, 0, NULL, GROUP_SERVER, "username...", "Deletes users and closes their connections"},
    {"ACL|LIST", acl_list, 2, ADMIN | WHOLE, 0, 0, 0, NULL, GROUP_SERVER, "", "Describes all users, as in a file"},
    {"ACL|USERS", acl_users, 2, ADMIN | WHOLE, 0, 0, 0, NULL, GROUP_SERVER, "", "Tells the names of all users"},
    {"ACL|WHOAMI", acl_whoami, 2, FAST, 0, 0, 0, NULL, GROUP_SERVER, "", "Tells the name of the connection's user"},
    {"ACL|CAT", acl_cat, -2, 0, 0, 0, 0, NULL, GROUP_SERVER, "[category]", "Lists the categories of commands, or the commands in one"},
    {"ACL|DRYRUN", acl_dryrun, -4, ADMIN | WHOLE, 0, 0, 0, NULL, GROUP_SERVER, "username command [arg...]", "Tells whether a user may run a command"},
    {"ACL|LOG", acl_show_log, -2, ADMIN | WHOLE, 0, 0, 0, NULL, GROUP_SERVER, "[count|RESET]", "Tells what was refused to whom, or forgets it"},
    {"ACL|LOAD", acl_load, 2, ADMIN | STOPS | WHOLE, 0, 0, 0, NULL, GROUP_SERVER, "", "Reads the users from aclfile, all or none"},
    {"ACL|SAVE", acl_save, 2, ADMIN | WHOLE, 0, 0, 0, NULL, GROUP_SERVER, "", "Writes the users to aclfile"},
    {"ACL|GENPASS", acl_genpass, -2, FAST, 0, 0, 0, NULL, GROUP_SERVER, "[bits]", "Makes a password of random hexadecimal digits"},
    {"ACL|HELP", introspection_container_help, 2, 0, 0, 0, 0, NULL, GROUP_SERVER, "", "Lists the subcommands"},
    {"SHUTDOWN", server_shutdown, -1, ADMIN | NOT_IN_MULTI | WHOLE, 0, 0, 0, NULL, GROUP_SERVER, "[NOSAVE|SAVE] [NOW] [FORCE] [ABORT]",
     "Stops the server when no claim is held any more"},
    {"LOLWUT", server_lolwut, -1, FAST, 0, 0, 0, NULL, GROUP_SERVER, "[VERSION version]", "Tells the version"},
    {"FLUSHALL", generic_flush, -1, WRITES | FREES | ALL_KEYS | WHOLE, 0, 0, 0, NULL, GROUP_SERVER, "[ASYNC|SYNC]", "Deletes all keys"},
    {"FLUSHDB", generic_flush, -1, WRITES | FREES | ALL_KEYS | WHOLE, 0, 0, 0, NULL, GROUP_SERVER, "[ASYNC|SYNC]", "Deletes all keys"},
    {"MONITOR", monitor_command, 1, ADMIN | WHOLE, 0, 0, 0, NULL, GROUP_SERVER, "", "Shows every command that runs"},
};
/* clang-format on */

const size_t command_table_command_count =
    sizeof command_table_commands / sizeof command_table_commands[0];
