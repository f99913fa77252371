/*
 * probe.c - `probe URL [CA_FILE [DEADLINE_MS]]`: asks for a key, synchronously and asynchronously,
 * and prints "STATUS message" for each. For the tests in run.py.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/idem.h"
#include "tests/client/world.h"

static void say(enum idem_status status, const char *message) {
  printf("%s %s\n", idem_status_name(status), message);
}

static void ask(const char *url, const struct idem_options *options) {
  struct idem_client *client = NULL;
  struct idem_error error;
  struct idem_answer answer = {0};
  enum idem_status status = idem_open(url, options, &client, &error);
  if (status == IDEM_OK) status = idem_fetch(client, idem_text("probe"), idem_text(NULL), &answer);
  say(status, client != NULL ? answer.message : error.text);
  idem_answer_clear(&answer);
  idem_close(client);
}

static void ask_in_a_loop(const char *url, const struct idem_options *options) {
  struct world world = {.open = 0};
  struct seen seen = {.world = &world};
  world_open_url(&world, url, options);
  world_fetch(&world, "probe", &seen);
  say(seen.status, seen.answer.message);
  idem_answer_clear(&seen.answer);
  world_close(&world);
}

int main(int argc, char **argv) {
  const char *url = argc > 1 ? argv[1] : "";
  const struct idem_options options = {.ca_file = argc > 2 ? argv[2] : NULL,
                                       .deadline_ms = argc > 3 ? atoi(argv[3]) : 10000};
  struct idem_client *client = NULL;
  struct idem_error error;
  enum idem_status status = idem_open(url, &options, &client, &error);
  idem_close(client);
  if (status == IDEM_OK) {
    ask(url, &options);
    ask_in_a_loop(url, &options);
  } else {
    say(status, error.text);
  }
  return 0;
}
