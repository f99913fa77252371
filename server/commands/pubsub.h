/* pubsub.h - SUBSCRIBE, PUBLISH, PUBSUB and their relatives: the commands about channels, as in
 * Redis. */
#ifndef IDEM_SERVER_COMMANDS_PUBSUB_H
#define IDEM_SERVER_COMMANDS_PUBSUB_H

#include "server/commands/call.h"

void pubsub_subscribe(struct call *call);
void pubsub_unsubscribe(struct call *call);
void pubsub_psubscribe(struct call *call);
void pubsub_punsubscribe(struct call *call);
void pubsub_publish_command(struct call *call);
void pubsub_channels_command(struct call *call);
void pubsub_numsub_command(struct call *call);
void pubsub_numpat_command(struct call *call);

/* command_limit of the rows: names may be as long as the channel of the longest key (which bounds
 * the cost of matching a pattern); PUBLISH has a body after the name. */
size_t pubsub_name_limit(const struct options *options, const struct span *argv, size_t index);
size_t pubsub_publish_limit(const struct options *options, const struct span *argv, size_t index);

/* Figures for INFO, of all workers, while their loops are paused. */
size_t pubsub_channel_count(const struct instance *instance);
size_t pubsub_pattern_count(const struct instance *instance);

#endif
