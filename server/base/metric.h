/*
 * metric.h - the form of a metric's row: what a figure is called and means, and where its value
 * lies. Data only; ops/metrics.h shows the rows.
 *
 * A room that has figures offers them as a struct of numbers, filled at one moment, and a table of
 * rows over it, which ends with METRIC_END. The rows stand next to the struct; commands/info.c puts
 * the tables in the order in which INFO shows them. Values are fields and not functions: a figure
 * then is one line of a table, and the compiler checks its type.
 */
#ifndef IDEM_SERVER_BASE_METRIC_H
#define IDEM_SERVER_BASE_METRIC_H

#include <stddef.h>
#include <stdint.h>

enum metric_kind {
  METRIC_COUNTER,   /* only rises, from the start or CONFIG RESETSTAT on */
  METRIC_GAUGE,     /* rises and falls */
  METRIC_HISTOGRAM, /* a struct histogram for each of its labels: a table */
  METRIC_TEXT       /* to be read, not measured: only INFO shows it */
};

enum metric_unit {
  METRIC_NO_UNIT,
  METRIC_BYTES,
  METRIC_SECONDS,
  METRIC_MILLISECONDS, /* /metrics shows these three in seconds */
  METRIC_MICROSECONDS,
  METRIC_NANOSECONDS,
  METRIC_RATIO
};

enum metric_type {
  METRIC_TYPE_FIXED, /* no field: the row has the value */
  METRIC_TYPE_UNSIGNED,
  METRIC_TYPE_SIGNED,
  METRIC_TYPE_REAL,
  METRIC_TYPE_STRING, /* const char *, borrowed, never NULL */
  METRIC_TYPE_HUMAN,  /* uint64_t bytes, shown as "1.50M" */
  METRIC_TYPE_TABLE   /* a line for each command, error ...: code of its own shows them */
};

struct metric {
  const char *name;
  enum metric_kind kind;
  enum metric_unit unit;
  const char *help;      /* a sentence */
  enum metric_type type; /* these by one of the macros below */
  size_t offset;         /* of the field in the struct of figures */
  const char *fixed;
  const char *family; /* name in /metrics, without prefix, unit and _total; NULL: the same */
  const char *labels; /* there, as in: kind="absent"; NULL: none */
};

/* clang-format off */
#define METRIC_TYPE_OF(value)         \
  _Generic((value),                   \
    uint64_t: METRIC_TYPE_UNSIGNED,   \
    int64_t: METRIC_TYPE_SIGNED,      \
    double: METRIC_TYPE_REAL,         \
    const char *: METRIC_TYPE_STRING)
/* clang-format on */

/* A field of the struct of figures, of one of these types; another one does not compile. */
#define METRIC_FIELD(type, field) \
  METRIC_TYPE_OF(((type *)0)->field), offsetof(type, field), NULL, NULL, NULL
/* The same, of another family in /metrics, with these labels. */
#define METRIC_FIELD_AS(type, field, family, labels) \
  METRIC_TYPE_OF(((type *)0)->field), offsetof(type, field), NULL, family, labels
/* A number of bytes (uint64_t), as people read it. */
#define METRIC_HUMAN(type, field)       \
  _Generic(((type *)0)->field, uint64_t \
           : METRIC_TYPE_HUMAN),        \
      offsetof(type, field), NULL, NULL, NULL
/* Always the same text: what tools that know Redis look for. */
#define METRIC_FIXED(text) METRIC_TYPE_FIXED, 0, text, NULL, NULL
/* The head of a table: the name of the label that tells its lines apart, and what a line of INFO
 * begins with; NULL: INFO has none. */
#define METRIC_TABLE(label, info) METRIC_TYPE_TABLE, 0, info, NULL, label
#define METRIC_END \
  { .name = NULL }

#endif
