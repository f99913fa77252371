/* info.c - see info.h. */
#include "server/commands/info.h"

#include "server/commands/reply.h"
#include "server/commands/sections.h"
#include "server/commands/sight.h"

static void put_section(const struct section *section, const struct instance *instance,
                        const struct figures *figures, struct metrics_text *text) {
  metrics_put_heading(text, section->is.title);
  for (const struct section_part *part = section->parts; part->rows != NULL; part++)
    metrics_put_rows(text, part->rows, sections_figures(figures, part->figures));
  const struct section_table *table = &section->lines;
  if (table->put != NULL) table->put(instance, sections_figures(figures, table->figures), text);
}

static bool is_wanted(const struct call *call, const struct section *section) {
  return metrics_section_wanted(&section->is, call->argv + 1, call->argc - 1) &&
         (!section->whole || sight_all(call->session));
}

void info_command(struct call *call) {
  struct metrics_text text = {0};
  struct figures figures;
  sections_read(call->worker, &figures);
  for (const struct section *section = sections_all; section->is.title != NULL; section++) {
    if (is_wanted(call, section)) put_section(section, call->worker->instance, &figures, &text);
  }
  if (text.failed) {
    reply_no_memory(call);
  } else {
    struct span bytes = {text.bytes != NULL ? text.bytes : "", text.len};
    resp_write_verbatim(call->reply, "txt", bytes);
  }
  metrics_text_deinit(&text);
}
