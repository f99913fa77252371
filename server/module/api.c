/* api.c - see api.h. */
#include "server/module/api.h"

struct api api;

/* The first word of a context at load is the function that finds the others. */
typedef int api_find(const char *name, void *function);

const char *api_load(RedisModuleCtx *ctx) {
  api_find *find = *(api_find **)(void *)ctx;
#define FIND(result, name, parameters) \
  if (find("RedisModule_" #name, (void *)&api.name) != API_OK) return #name;
  API_FUNCTIONS(FIND)
#undef FIND
  return NULL;
}
