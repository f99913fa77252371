/* table.c - see table.h. */
#include "server/base/table.h"

#include <assert.h>
#include <stdlib.h>

#define FIRST_SEGMENTS 8u

static struct table_node **bucket_at(const struct table *table, size_t index) {
  return &table->segments[index / TABLE_SEGMENT_BUCKETS][index % TABLE_SEGMENT_BUCKETS];
}

static bool add_segment(struct table *table) {
  if (table->segment_count == table->segment_capacity) {
    size_t capacity = table->segment_capacity != 0 ? table->segment_capacity * 2 : FIRST_SEGMENTS;
    struct table_node ***grown = realloc(table->segments, capacity * sizeof *grown);
    if (grown == NULL) return false;
    table->memory_bytes += (capacity - table->segment_capacity) * sizeof *grown;
    table->segments = grown;
    table->segment_capacity = capacity;
  }
  struct table_node **segment = calloc(TABLE_SEGMENT_BUCKETS, sizeof *segment);
  if (segment == NULL) return false;
  table->segments[table->segment_count++] = segment;
  table->memory_bytes += TABLE_SEGMENT_BUCKETS * sizeof *segment;
  return true;
}

static void drop_segment(struct table *table) {
  free(table->segments[--table->segment_count]);
  table->memory_bytes -= TABLE_SEGMENT_BUCKETS * sizeof **table->segments;
}

bool table_init(struct table *table) {
  *table = (struct table){.size = TABLE_SEGMENT_BUCKETS, .level = TABLE_SEGMENT_BUCKETS};
  if (add_segment(table)) return true;
  table_deinit(table);
  return false;
}

void table_deinit(struct table *table) {
  while (table->segment_count > 0) drop_segment(table);
  free(table->segments);
  *table = (struct table){0};
}

static size_t index_of(const struct table *table, uint64_t hash) {
  size_t index = (size_t)hash & (2 * table->level - 1);
  return index < table->size ? index : index & (table->level - 1);
}

struct table_node **table_bucket(const struct table *table, uint64_t hash) {
  return bucket_at(table, index_of(table, hash));
}

/* Adds one bucket and moves to it the nodes that belong there, all from the bucket that is
 * split. */
static void grow(struct table *table) {
  if (table->size == table->segment_count * TABLE_SEGMENT_BUCKETS && !add_segment(table)) return;
  size_t added = table->size;
  struct table_node **from = bucket_at(table, added & (table->level - 1));
  struct table_node **to = bucket_at(table, added);
  table->size++;
  if (table->size == 2 * table->level) table->level = table->size;
  while (*from != NULL) {
    struct table_node *node = *from;
    if (index_of(table, node->hash) != added) {
      from = &node->next;
      continue;
    }
    *from = node->next;
    node->next = *to;
    *to = node;
  }
}

/* Removes the last bucket: its chain goes back to the bucket that it was split from. */
static void shrink(struct table *table) {
  if (table->size == TABLE_SEGMENT_BUCKETS) return;
  if (table->size == table->level) table->level /= 2;
  size_t dropped = --table->size;
  struct table_node **from = bucket_at(table, dropped);
  struct table_node **to = bucket_at(table, dropped & (table->level - 1));
  while (*to != NULL) to = &(*to)->next;
  *to = *from;
  *from = NULL;
  /* One empty segment is kept, so that a table whose size varies around its edge does not allocate
   * each time. */
  if (table->segment_count * TABLE_SEGMENT_BUCKETS >= table->size + 2 * TABLE_SEGMENT_BUCKETS)
    drop_segment(table);
}

void table_insert(struct table *table, struct table_node *node) {
  struct table_node **bucket = table_bucket(table, node->hash);
  node->next = *bucket;
  *bucket = node;
  if (++table->count > table->size) grow(table);
}

/* Below half load the table gives back two buckets for each entry that leaves, so that it empties
 * with its entries. */
void table_remove(struct table *table, struct table_node **link) {
  *link = (*link)->next;
  --table->count;
  for (int bucket = 0; bucket < 2 && table->count < table->size / 2; bucket++) shrink(table);
}
