/* output.c - see output.h. */
#include "server/net/output.h"

#include <stdlib.h>

#include "server/commands/outputs.h"

/* Parts of one write that are listed on the stack. */
#define PARTS_ON_STACK 64

/* The output's bytes and references in order, without the first `skip` bytes. parts has room for
 * 2 * refs + 1. */
static unsigned list_pieces(const struct resp_output *out, size_t skip, struct iovec *parts) {
  unsigned count = 0;
  size_t at = 0;
  for (size_t i = 0; i <= out->ref_count; i++) {
    size_t end = i < out->ref_count ? out->refs[i].at : out->len;
    struct span pieces[2] = {{out->bytes + at, end - at}, SPAN_ABSENT};
    if (i < out->ref_count) pieces[1] = (struct span){out->refs[i].data, out->refs[i].len};
    at = end;
    for (unsigned p = 0; p < 2; p++) {
      size_t skipped = skip < pieces[p].len ? skip : pieces[p].len;
      skip -= skipped;
      if (pieces[p].len == skipped) continue;
      parts[count++] =
          (struct iovec){(char *)(uintptr_t)(pieces[p].data + skipped), pieces[p].len - skipped};
    }
  }
  return count;
}

static inline unsigned list_parts(const struct resp_output *out, size_t skip, struct iovec *parts) {
  if (out->ref_count > 0) return list_pieces(out, skip, parts);
  parts[0] = (struct iovec){out->bytes + skip, out->len - skip};
  return 1;
}

void output_done(struct resp_output *out, struct worker *worker) {
  if (out->ref_count > 0) outputs_unpin(worker, out, 0);
  outputs_give(worker, out);
}

bool output_note_taken(const struct stream *stream, struct session *session, struct worker *worker,
                       bool sent) {
  size_t taken = session->sending_bytes - (size_t)stream_ask(stream, STREAM_LEFT);
  if (taken == 0) return false;
  session->sending_bytes -= taken;
  atomic_fetch_sub(&worker->instance->sending_bytes, taken);
  if (sent) worker->counters.bytes_out += taken;
  return true;
}

/* An output on its way; parts: room to list it. */
struct sending {
  struct stream *stream;
  struct session *session;
  struct worker *worker;
  struct resp_output *out;
  struct iovec *parts;
  bool queued;
};

/* A slow reader's output counts as the bytes that it has yet to take, so a buffer of more than
 * twice as much is shrunk. Returns the bytes that are in the output no longer. */
static size_t forget_sent(struct resp_output *out, size_t sent) {
  bool much = out->ref_count == 0 && out->capacity > 2 * (out->len - sent);
  return much ? resp_output_forget(out, sent) : 0;
}

static enum output_result leave_rest(const struct sending *s, size_t sent) {
  sent -= forget_sent(s->out, sent);
  size_t bytes = resp_output_size(s->out) - sent;
  unsigned count = list_parts(s->out, sent, s->parts);
  if (stream_write(s->stream, s->parts, count, s->out) != 0) return OUTPUT_LOST;
  s->session->sending_bytes += bytes;
  atomic_fetch_add(&s->worker->instance->sending_bytes, bytes);
  return OUTPUT_LEFT;
}

static enum output_result send_parts(const struct sending *s) {
  int64_t sent = 0;
  if (!s->queued) {
    sent = stream_write(s->stream, s->parts, list_parts(s->out, 0, s->parts), NULL);
    if (sent < 0) return OUTPUT_LOST;
    s->worker->counters.bytes_out += (uint64_t)sent;
  }
  return (size_t)sent < resp_output_size(s->out) ? leave_rest(s, (size_t)sent) : OUTPUT_SENT;
}

/* The output is given to the stream, or done with. No parts: memory is short. */
static inline enum output_result send_listed(const struct sending *s) {
  bool whole = !s->out->failed && s->parts != NULL;
  enum output_result result = whole ? OUTPUT_SENT : OUTPUT_LOST;
  if (whole && resp_output_size(s->out) > 0) result = send_parts(s);
  if (result != OUTPUT_LEFT) output_done(s->out, s->worker);
  return result;
}

static enum output_result send_with_refs(struct sending *s) {
  struct iovec on_stack[PARTS_ON_STACK];
  size_t room = 2 * s->out->ref_count + 1;
  s->parts = room > PARTS_ON_STACK ? malloc(room * sizeof *s->parts) : on_stack;
  enum output_result result = send_listed(s);
  if (s->parts != on_stack) free(s->parts);
  return result;
}

enum output_result output_send(struct stream *stream, struct session *session,
                               struct worker *worker, bool queued) {
  struct iovec part; /* nearly always that is all */
  struct sending sending = {.stream = stream,
                            .session = session,
                            .worker = worker,
                            .out = session->out,
                            .parts = &part,
                            .queued = queued};
  if (sending.out == NULL) return OUTPUT_SENT;
  session->out = NULL;
  return sending.out->ref_count > 0 ? send_with_refs(&sending) : send_listed(&sending);
}
