/*
 * table.h - a hash table of embedded nodes: linear hashing with chains, which grows and shrinks one
 * bucket at a time. For sets that are small enough to spend some bytes per entry: topics, regions.
 * An engine's keys have their own index (engine/index.h).
 *
 * Buckets 0 .. size-1 lie in segments; `level` is the largest power of two <= size. A hash belongs
 * to bucket h mod 2*level when that one exists already, else to h mod level:
 *
 *     level 4, size 6     [0][1][2][3] [4][5]       growing to 7 splits bucket 2 into 2 and 6,
 *                          split  not   new          and nothing else moves
 *
 * So no insertion ever rehashes more than one chain, the table never exists twice, and a delete
 * gives memory back the same way. Doubling tables were rejected: they pause while the entries move,
 * or keep a second table for that time.
 *
 * The table owns its segments, not the entries. An entry embeds a table_node.
 */
#ifndef IDEM_SERVER_BASE_TABLE_H
#define IDEM_SERVER_BASE_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TABLE_SEGMENT_BUCKETS 512u /* 4 KiB: a page */

struct table_node {
  struct table_node *next;
  uint64_t hash;
};

struct table {
  struct table_node ***segments;
  size_t segment_count, segment_capacity;
  size_t size, level, count;
  size_t memory_bytes;
};

/* false when memory is short. */
bool table_init(struct table *table);
void table_deinit(struct table *table);

/* The head of the chain that the hash belongs to. */
struct table_node **table_bucket(const struct table *table, uint64_t hash);
/* Adds the node, growing by at most one bucket. Cannot fail: when no memory can be had for a
 * segment, chains get longer. */
void table_insert(struct table *table, struct table_node *node);
/* Takes out the node that *link points at, shrinking by at most one bucket. */
void table_remove(struct table *table, struct table_node **link);

#endif
