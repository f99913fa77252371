/* idem-bench: load with checked replies, and what it cost the server.
 *
 * This file reads the options and picks the kind of run; it knows the details of none.
 */
#include "bench/expire.h"
#include "bench/flood.h"
#include "bench/net.h"
#include "bench/occupancy.h"
#include "bench/options.h"
#include "bench/plan.h"
#include "bench/recipe.h"
#include "bench/report.h"
#include "bench/steady.h"
#include "bench/wakeup.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/random.h>

struct experiment {
  const char *name;
  const char *help;
  enum plan_status (*run)(const struct options *options, struct report *report);
};

static const struct experiment experiments[] = {
    {"fill", "makes --keys keys of the scenario --like (store); memory per key", occupancy_fill},
    {"idle", "opens --connections connections; memory per connection", occupancy_idle},
    {"expire",
     "--expiring keys end within --window-seconds beside readers (--like replay) at --rate",
     expire_run},
    {"flood",
     "the scenario --like (replay) as cheaply as can be: replies are counted, one batch is checked",
     flood_run},
};

enum { EXPERIMENTS = sizeof experiments / sizeof experiments[0] };

static enum plan_status run(const struct options *options, struct report *report) {
  static const char plain_only[] = "--tls goes with a steady load, not with this scenario";
  for (size_t i = 0; i < EXPERIMENTS; i++) {
    if (strcmp(experiments[i].name, options->scenario) != 0) continue;
    return options->tls ? plan_refuse(plain_only) : experiments[i].run(options, report);
  }
  if (recipe_knows(options->scenario))
    return options->tls ? plan_refuse(plain_only) : wakeup_run(options, report);
  return steady_run(options, report);
}

static void print_help(void) {
  options_print_help();
  scenario_print_list();
  mix_print_list();
  recipe_print_list();
  for (size_t i = 0; i < EXPERIMENTS; i++)
    printf("  %-18s %s\n", experiments[i].name, experiments[i].help);
}

static enum plan_status print_sizes(const struct options *options) {
  struct plan plan;
  enum plan_status status = plan_init(&plan, options, options->scenario, options->like);
  const struct scenario *scenario = &plan.mix.parts[0];
  if (status == PLAN_OK && (plan.mix.part_count > 1 || scenario->step_count > 1)) {
    status = plan_refuse("--sizes needs a scenario of one step");
  } else if (status == PLAN_OK) {
    printf("{\"request_bytes\":%zu,\"reply_bytes\":%zu}\n",
           message_usual_bytes(&scenario->steps[0].request),
           message_usual_bytes(&scenario->steps[0].reply));
  }
  plan_deinit(&plan);
  return status;
}

/* A second run on the same server must find no key of the first one. 53 bits, so that readers of
 * JSON with doubles keep the printed seed. */
static bool pick_seed(uint64_t *seed) {
  if (getrandom(seed, sizeof *seed, 0) != sizeof *seed) return false;
  *seed = *seed >> 11 | 1;
  return true;
}

int main(int argc, char **argv) {
  struct options options;
  if (options_parse(&options, argc, argv) != 0) return PLAN_USAGE;
  if (options.help) {
    print_help();
    return EXIT_SUCCESS;
  }
  if (options.sizes) return (int)print_sizes(&options);
  if (options.seed == 0 && !pick_seed(&options.seed))
    return (int)plan_refuse("no random seed from the system; give --seed");

  net_raise_file_limit();
  (void)signal(SIGPIPE, SIG_IGN); /* OpenSSL writes without MSG_NOSIGNAL */
  /* An open loop sleeps until the next operation is due; 50 us more would be most of a latency. */
  (void)prctl(PR_SET_TIMERSLACK, 1UL, 0UL, 0UL, 0UL);
  struct report report = {.count = 0};
  plan_begin_report(&options, &report);
  enum plan_status status = run(&options, &report);
  enum report_format format = options.json ? REPORT_JSON : REPORT_TABLE;
  if (status == PLAN_OK && report_print(&report, options.csv ? REPORT_CSV : format) != 0)
    return PLAN_FAILED;
  return (int)status;
}
