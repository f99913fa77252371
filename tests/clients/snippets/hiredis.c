#include <hiredis/hiredis.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int work(char **answer); // enum worked

// SNIPPET

static int work(char **answer) {
  const char *way = getenv("WORK");
  if (strcmp(way, "nothing") == 0) return DID_NOTHING;
  printf("ran\n");
  *answer = strdup("the response");
  return strcmp(way, "ok") == 0 ? WORKED : UNSURE;
}

int main(void) {
  static const char *const said[] = {NULL, "answer (none)", "forgotten", "failed"};
  char *answer = NULL;
  redisContext *idem = open_idem();
  const char *key = getenv("KEY"), *call = getenv("CALL"), *born = getenv("BORN");
  enum once result = once(idem, key, call, born, getenv("HOLD"), &answer);
  printf("%s%s\n", said[result] ? said[result] : "answer ", said[result] ? "" : answer);
  redisFree(idem);
  return result == FAILED;
}
