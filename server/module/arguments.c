/* arguments.c - see arguments.h. */
#include "server/module/arguments.h"

void arguments_refuse(RedisModuleCtx *ctx, const struct request_error *error) {
  char text[REQUEST_ERROR_BYTES];
  request_error_text(error, text);
  api.ReplyWithError(ctx, text);
}

static void refuse_size(RedisModuleCtx *ctx, const struct span *argv, size_t index, size_t most,
                        bool is_store) {
  arguments_refuse(ctx, &(struct request_error){
                            .fault = REQUEST_TOO_BIG,
                            .name = is_store ? request_store_argument_name(argv, index)
                                             : request_argument_name(argv, index),
                            .most = (int64_t)most,
                        });
}

bool arguments_take(struct arguments *arguments, RedisModuleCtx *ctx, RedisModuleString **argv,
                    int argc, int least, const struct request_limits *limits,
                    arguments_limit *limit) {
  if (argc < least) {
    api.WrongArity(ctx);
    return false;
  }
  struct span *spans = arguments->argv;
  size_t count = argc < ARGUMENTS_MOST ? (size_t)argc : ARGUMENTS_MOST;
  size_t safe = request_least_limit(limits);
  for (size_t i = 0; i < count; i++) {
    spans[i].data = api.StringPtrLen(argv[i], &spans[i].len);
    if (i == 0 || spans[i].len <= safe) continue;
    size_t most = limit(limits, spans, i);
    if (spans[i].len <= most) continue;
    refuse_size(ctx, spans, i, most, limit == request_store_limit);
    return false;
  }
  arguments->input = (struct request_input){spans, count, limits};
  return true;
}
