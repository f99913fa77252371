/* probe.c - `probe URL [CA_FILE]`: opens, pings, prints "STATUS message". For the tests in run.py.
 */
#include <stdio.h>
#include <string.h>

#include "client/idem.h"

int main(int argc, char **argv) {
  struct idem_options options;
  struct idem_client *client = NULL;
  struct idem_error error;
  memset(&options, 0, sizeof options);
  options.ca_file = argc > 2 ? argv[2] : NULL;
  options.deadline_ms = 10000;
  enum idem_status status = idem_open(argc > 1 ? argv[1] : "", &options, &client, &error);
  if (status == IDEM_OK) status = idem_ping(client, &error);
  printf("%s %s\n", idem_status_name(status), error.text);
  idem_close(client);
  return 0;
}
