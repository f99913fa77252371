/* process_metrics.c - see process_metrics.h. */
#include "server/commands/process_metrics.h"

#include <stdio.h>
#include <sys/resource.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "server/ops/prometheus.h"
#include "server/ops/version.h"

static double seconds(struct timeval time) {
  return (double)time.tv_sec + (double)time.tv_usec / 1e6;
}

void process_metrics_read(struct process_metrics *figures) {
  struct utsname system = {.sysname = "?"};
  struct rusage self = {0};
  uname(&system);
  getrusage(RUSAGE_SELF, &self);
  *figures = (struct process_metrics){
      .os = figures->os_text,
      .pointer_bits = sizeof(void *) * 8,
      .pid = getpid(),
      .cpu_system_s = seconds(self.ru_stime),
      .cpu_user_s = seconds(self.ru_utime),
  };
  snprintf(figures->os_text, sizeof figures->os_text, "%s %s %s", system.sysname, system.release,
           system.machine);
}

#define CPU(field, mode) METRIC_FIELD_AS(struct process_metrics, field, "cpu", "mode=\"" mode "\"")
#define FIELD(field) METRIC_FIELD(struct process_metrics, field)
#define TEXT METRIC_TEXT, METRIC_NO_UNIT
#define WORD(number) #number
#define VERSION(major, minor, patch) WORD(major) "." WORD(minor) "." WORD(patch)

const struct metric process_metrics_program[] = {
    {"redis_version", TEXT, "The Redis whose commands it follows.",
     METRIC_FIXED(IDEM_REDIS_VERSION)},
    {"redis_git_sha1", TEXT, "It is no build of Redis.", METRIC_FIXED("00000000")},
    {"redis_git_dirty", TEXT, "It is no build of Redis.", METRIC_FIXED("0")},
    {"redis_mode", TEXT, "It is no cluster.", METRIC_FIXED("standalone")},
    {"server_name", TEXT, "What it is.", METRIC_FIXED("idem")},
    {"idem_version", TEXT, "Its version.", METRIC_FIXED(IDEM_VERSION)},
    {"os", TEXT, "Name, release and machine of the system.", FIELD(os)},
    {"arch_bits", TEXT, "Bits of an address.", FIELD(pointer_bits)},
    {"multiplexing_api", TEXT, "The library of the event loops.", METRIC_FIXED("libuv")},
    {"gcc_version", TEXT, "The compiler's version.",
     METRIC_FIXED(VERSION(__GNUC__, __GNUC_MINOR__, __GNUC_PATCHLEVEL__))},
    {"process_id", TEXT, "The number of the process.", FIELD(pid)},
    METRIC_END,
};

const struct metric process_metrics_cpu[] = {
    {"used_cpu_sys", METRIC_COUNTER, METRIC_SECONDS, "CPU time, in the kernel and outside of it.",
     CPU(cpu_system_s, "system")},
    {"used_cpu_user", METRIC_COUNTER, METRIC_SECONDS, "CPU time outside of the kernel.",
     CPU(cpu_user_s, "user")},
    METRIC_END,
};

const struct metric process_metrics_tables[] = {
    {"build_info", METRIC_GAUGE, METRIC_NO_UNIT, "Always 1: its version.",
     METRIC_TABLE("version", NULL)},
    METRIC_END,
};

void process_metrics_put_families(const struct instance *instance, const void *figures,
                                  struct metrics_text *text) {
  (void)instance;
  (void)figures;
  prometheus_put_head(text, process_metrics_tables);
  prometheus_put_sample(text, process_metrics_tables, IDEM_VERSION, 1);
}
