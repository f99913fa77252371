/*
 * pubsub.h - channels and patterns: who listens, and messages to them.
 *
 * A message is written into the output of every listener at once; what a listener that does not
 * read may pile up is bounded by client-output-limit, over which net/ closes it. A message to many
 * is small or shared: payloads are copied per listener.
 *
 * Each host has tables of its own clients. PUBLISH serves those of its host, and posts the message
 * to the inbox of each other host in which somebody listens.
 */
#ifndef IDEM_SERVER_COMMANDS_PUBSUB_H
#define IDEM_SERVER_COMMANDS_PUBSUB_H

#include "server/commands/command.h"

/* Channels and patterns that one client may listen to. */
#define PUBSUB_MAX_PER_CLIENT 100000u
/* In front of a key: the channel on which its record's ends are told. */
#define PUBSUB_EFFECT_PREFIX "__idem__:"

struct pubsub;

struct pubsub *pubsub_create(void); /* NULL when memory is short */
void pubsub_destroy(struct pubsub *pubsub);

/* A RESP2 connection that listens takes only the commands flagged COMMAND_PUBSUB. */
bool pubsub_restricts(const struct session *session);
/* Ends all subscriptions, without a word (the client is going, or RESET). */
void pubsub_leave(struct worker *worker, struct session *session);
/* To how many it went; one who listens by channel and by patterns counts for each. */
size_t pubsub_publish(struct worker *worker, struct span channel, struct span message);
/* The part of that for the host's own clients. */
size_t pubsub_deliver(struct worker *worker, struct span channel, struct span message);
/* Posts what the engine, which is locked, has to tell to those who listen to `__idem__:<key>`:
 * `done`, `unknown` or `free`. Engines keep effects only while somebody listens to anything of that
 * name. */
void pubsub_tell_effects(struct worker *worker, struct engine *engine);
/* Before `bytes` more are written to a client that did not ask for them now: false when it takes no
 * more, because it is going or because they would bring it over client-output-limit, which closes
 * it. */
bool pubsub_may_push(struct worker *worker, struct session *session, size_t bytes);
/* Closes one that takes no more, as one over its limit; or all who listen. */
void pubsub_close(struct worker *worker, struct session *session);
void pubsub_close_listeners(struct worker *worker);
/* Figures for INFO, while other loops stand still, and for CLIENT LIST. */
size_t pubsub_channels(const struct instance *instance);
size_t pubsub_patterns(const struct instance *instance);
size_t pubsub_count_channels(const struct session *session);
size_t pubsub_count_patterns(const struct session *session);

/* Rows' limits: names are as long as the channel of the longest key (which bounds what matching a
 * pattern costs); PUBLISH has a body behind the name. */
size_t pubsub_name_limit(const struct options *options, const struct span *argv, size_t index);
size_t pubsub_publish_limit(const struct options *options, const struct span *argv, size_t index);

void pubsub_subscribe(struct call *call);
void pubsub_unsubscribe(struct call *call);
void pubsub_psubscribe(struct call *call);
void pubsub_punsubscribe(struct call *call);
void pubsub_publish_command(struct call *call);
void pubsub_channels_command(struct call *call);
void pubsub_numsub_command(struct call *call);
void pubsub_numpat_command(struct call *call);

#endif
