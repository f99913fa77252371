/* cursor.h - how large the cursors of scans are. With six bits above that choose a shard, 53 bits:
 * clients may keep cursors in doubles. */
#ifndef IDEM_SERVER_ENGINE_CURSOR_H
#define IDEM_SERVER_ENGINE_CURSOR_H

#define CURSOR_BITS 47u /* of an engine's */

#endif
