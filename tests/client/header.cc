// header.cc - idem.h and its adapter, as C++ sees them. Compiled with all warnings by run.py; never run.
#include <idem.h>
#include <idem_uv.h>

static int work(idem_claim *claim, void *context, idem_result *result) {
  (void)context;
  result->body = idem_text(idem_claim_token(claim) > 0 ? "made" : "");
  return IDEM_WORK_DONE;
}

int main() {
  idem_client *client = nullptr;
  idem_request request = {};
  idem_answer answer = {};
  idem_loop loop = idem_uv_loop(nullptr);
  request.key = idem_text("key");
  request.flags = IDEM_HOLD | IDEM_BIND;
  if (idem_open("redis://127.0.0.1:4336", nullptr, &client, nullptr) != IDEM_OK) return 1;
  const idem_status status = idem_once(client, &request, work, nullptr, &answer);
  idem_answer_clear(&answer);
  idem_close(client);
  return status == IDEM_RUN && loop.watch != nullptr ? 0 : 1;
}
