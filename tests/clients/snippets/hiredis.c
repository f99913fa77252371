#include <hiredis/hiredis.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *work(void) {
  printf("ran\n");
  return "the response";
}

int main(void) {
  const char *key = getenv("KEY"), *call = getenv("CALL"), *answer = NULL;
  // SNIPPET
  printf("answer %s\n", answer ? answer : "(none)");
  return 0;
}
