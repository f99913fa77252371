/* The two renderings of a report. Names in the JSON end in their units. */
#include "bench/report.h"

#include <inttypes.h>
#include <stdio.h>

struct rates {
  double seconds;
  double operations;
  double per_second;
};

static struct rates rates_of(const struct tally *tally) {
  struct rates rates = {.seconds = (double)tally->elapsed_ns / 1e9,
                        .operations = (double)tally->operations};
  if (rates.seconds > 0) rates.per_second = rates.operations / rates.seconds;
  return rates;
}

static double each(uint64_t whole, const struct rates *rates) {
  return rates->operations > 0 ? (double)whole / rates->operations : 0;
}

static double latency_us(const struct tally *tally, unsigned per_mille) {
  return (double)histogram_percentile(&tally->latency, per_mille) / 1000;
}

void report_print_table(const struct report *report) {
  const struct tally *tally = report->tally;
  struct rates rates = rates_of(tally);
  printf("scenario      %s%s%s\n", report->scenario, report->like != NULL ? " like " : "",
         report->like != NULL ? report->like : "");
  printf("connections   %" PRIu64 ", pipeline %" PRIu64 ", seed %" PRIu64 "\n", report->connections,
         report->pipeline, report->seed);
  if (report->keys > 0) printf("keys          %" PRIu64 "\n", report->keys);
  printf("operations    %" PRIu64 " in %.3f s: %.0f per second\n", tally->operations, rates.seconds,
         rates.per_second);
  printf("bytes         %.1f sent and %.1f received per operation\n",
         each(tally->sent_bytes, &rates), each(tally->received_bytes, &rates));
  printf("latency us    p50 %.1f   p99 %.1f   p99.9 %.1f   max %.1f\n", latency_us(tally, 500),
         latency_us(tally, 990), latency_us(tally, 999), latency_us(tally, 1000));
  if (report->has_server_cpu) {
    double percent = 100 / (double)(tally->elapsed_ns + 1);
    printf("server CPU    %.0f ns per operation; ran %.0f %% of the time, waited for it %.1f %%\n",
           each(report->server_cpu.run_ns, &rates), percent * (double)report->server_cpu.run_ns,
           percent * (double)report->server_cpu.wait_ns);
  }
  printf("load CPU      %.0f ns per operation\n", each(report->load_cpu_ns, &rates));
}

void report_print_json(const struct report *report) {
  const struct tally *tally = report->tally;
  struct rates rates = rates_of(tally);
  printf("{\"scenario\":\"%s\",", report->scenario);
  if (report->like != NULL) printf("\"like\":\"%s\",", report->like);
  printf("\"connections\":%" PRIu64 ",\"pipeline\":%" PRIu64 ",\"keys\":%" PRIu64
         ",\"seed\":%" PRIu64 ",",
         report->connections, report->pipeline, report->keys, report->seed);
  printf("\"operations\":%" PRIu64 ",\"seconds\":%.6f,\"operations_per_second\":%.1f,",
         tally->operations, rates.seconds, rates.per_second);
  printf("\"request_bytes\":%.2f,\"reply_bytes\":%.2f,", each(tally->sent_bytes, &rates),
         each(tally->received_bytes, &rates));
  printf("\"latency_us\":{\"p50\":%.2f,\"p99\":%.2f,\"p999\":%.2f,\"max\":%.2f},",
         latency_us(tally, 500), latency_us(tally, 990), latency_us(tally, 999),
         latency_us(tally, 1000));
  if (report->has_server_cpu) {
    printf("\"server_cpu_ns\":%" PRIu64 ",\"server_wait_ns\":%" PRIu64
           ",\"server_cpu_ns_per_operation\":%.2f,",
           report->server_cpu.run_ns, report->server_cpu.wait_ns,
           each(report->server_cpu.run_ns, &rates));
  }
  printf("\"load_cpu_ns_per_operation\":%.2f}\n", each(report->load_cpu_ns, &rates));
}
