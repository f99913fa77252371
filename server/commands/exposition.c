/* exposition.c - see exposition.h. */
#include "server/commands/exposition.h"

#include "server/commands/access.h"
#include "server/commands/sections.h"
#include "server/ops/prometheus.h"

static void put_section(const struct section *section, const struct instance *instance,
                        const struct figures *figures, struct metrics_text *text) {
  for (const struct section_part *part = section->parts; part->rows != NULL; part++)
    prometheus_put_rows(text, part->rows, sections_figures(figures, part->figures));
  const struct section_table *table = &section->families;
  if (table->put != NULL) table->put(instance, sections_figures(figures, table->figures), text);
}

void exposition_write(struct worker *worker, struct metrics_text *text) {
  int64_t now_ms = worker->now_ms;
  struct figures figures;
  access_pause_others(worker);
  access_lock_all(worker, &now_ms);
  sections_read(worker, &figures);
  for (const struct section *section = sections_all; section->is.title != NULL; section++)
    put_section(section, worker->instance, &figures, text);
  access_unlock_all(worker);
  access_resume_others(worker);
}
