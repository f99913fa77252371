/* image.c - see image.h. */
#include "server/engine/image.h"

#include <assert.h>

#include "server/rules/rules.h"

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "images are written as they lie");

#define HOLD 0x01u
#define BIND 0x02u
#define NOBODY 0x04u
#define FINGERPRINT 0x08u
#define SECOND 0x10u /* an owner or a body */
#define THIRD 0x20u  /* a stage or meta */
#define NO_END 0x40u
#define KNOWN_FLAGS 0x7fu
#define FORM_SHIFT 4u
#define PHASE 0x0fu

struct head {
  uint32_t bytes;
  uint8_t kind, phase_form;
  uint16_t flags;
  uint64_t token;
  int64_t since_ms, deadline_ms;
  uint32_t lease_ms, attempt;
  uint32_t key_len;
  uint16_t fingerprint_len, user;
  uint32_t second_len, third_len;
};
_Static_assert(sizeof(struct head) == IMAGE_HEAD_BYTES, "no padding");

/* ---- writing ---- */

static size_t padded(size_t size) {
  return (size + IMAGE_ALIGNMENT - 1) & ~(size_t)(IMAGE_ALIGNMENT - 1);
}

size_t image_size(const struct image *image) {
  return padded(IMAGE_HEAD_BYTES + image->key.bytes.len + image->fingerprint.len + image->body.len +
                image->meta.len);
}

static unsigned flags_of(const struct image *image) {
  return image->hold * HOLD | image->bind * BIND | image->nobody * NOBODY |
         span_present(image->fingerprint) * FINGERPRINT | span_present(image->body) * SECOND |
         span_present(image->meta) * THIRD | (image->deadline_ms == RULES_NEVER) * NO_END;
}

static char *put(char *to, struct span bytes) {
  if (bytes.len != 0) memcpy(to, bytes.data, bytes.len);
  return to + bytes.len;
}

char *image_write(const struct image *image, char *to) {
  size_t size = image_size(image);
  assert(size <= UINT32_MAX && image->fingerprint.len <= UINT16_MAX);
  const struct head head = {
      .bytes = (uint32_t)size,
      .kind = (uint8_t)image->kind,
      .phase_form = (uint8_t)(image->phase | (unsigned)image->key.form << FORM_SHIFT),
      .flags = (uint16_t)flags_of(image),
      .token = image->token,
      .since_ms = image->since_ms,
      .deadline_ms = image->deadline_ms,
      .lease_ms = image->lease_ms,
      .attempt = image->attempt,
      .key_len = (uint32_t)image->key.bytes.len,
      .fingerprint_len = (uint16_t)image->fingerprint.len,
      .user = image->user,
      .second_len = (uint32_t)image->body.len,
      .third_len = (uint32_t)image->meta.len,
  };
  char *end = to + size;
  memcpy(to, &head, sizeof head);
  to = put(to + sizeof head, image->key.bytes);
  to = put(to, image->fingerprint);
  to = put(to, image->body);
  to = put(to, image->meta);
  memset(to, 0, (size_t)(end - to));
  return end;
}

/* ---- reading ---- */

/* Whatever duration is added, it does not overflow. A client may give a plain value any end. */
static bool is_time(int64_t ms) { return ms >= 0 && ms <= INT64_MAX / 2; }

static bool is_end(const struct head *head) {
  return (head->flags & NO_END) != 0 || is_time(head->deadline_ms);
}

static bool is_record(const struct head *head) {
  unsigned phase = head->phase_form & PHASE;
  bool phases = phase == RULES_HELD || phase == RULES_LAPSED || phase == RULES_UNKNOWN;
  bool ends = phase == RULES_UNKNOWN || (head->flags & NO_END) == 0;
  return phases && ends && is_end(head) && head->token > 0 && head->attempt > 0;
}

/* Its kind has what it has to have. */
static bool is_whole(const struct head *head) {
  switch ((enum image_kind)head->kind) {
    case IMAGE_RECORD: return is_record(head);
    case IMAGE_RESPONSE:
      return (head->flags & (SECOND | NO_END)) == SECOND && is_end(head) && head->token > 0;
    case IMAGE_VALUE:
    case IMAGE_KEYSPACE: return (head->flags & SECOND) != 0;
    case IMAGE_ABSENT:
    case IMAGE_END:
    case IMAGE_FLUSH:
    case IMAGE_HORIZON: return true;
    default: return false;
  }
}

/* No length without a part. */
static bool are_parts(const struct head *head) {
  return (head->fingerprint_len == 0 || (head->flags & FINGERPRINT) != 0) &&
         (head->second_len == 0 || (head->flags & SECOND) != 0) &&
         (head->third_len == 0 || (head->flags & THIRD) != 0);
}

static bool is_sound(const struct head *head, size_t len) {
  size_t parts =
      (size_t)head->key_len + head->fingerprint_len + head->second_len + (size_t)head->third_len;
  unsigned form = head->phase_form >> FORM_SHIFT;
  bool sizes = head->bytes <= len && head->bytes == padded(sizeof *head + parts);
  bool key = form == KEY_RAW || (form <= KEY_UUID_UPPER && head->key_len == KEY_UUID_BYTES);
  return sizes && key && is_whole(head) && are_parts(head) && (head->flags & ~KNOWN_FLAGS) == 0 &&
         is_time(head->since_ms) && head->deadline_ms >= 0;
}

static struct span take(const char **from, size_t len, bool present) {
  struct span bytes = present ? (struct span){*from, len} : SPAN_ABSENT;
  *from += len;
  return bytes;
}

size_t image_read(struct span bytes, struct image *image) {
  struct head head;
  if (bytes.len < sizeof head) return 0;
  memcpy(&head, bytes.data, sizeof head);
  if (!is_sound(&head, bytes.len)) return 0;
  *image = (struct image){
      .kind = (enum image_kind)head.kind,
      .phase = head.phase_form & PHASE,
      .hold = (head.flags & HOLD) != 0,
      .bind = (head.flags & BIND) != 0,
      .nobody = (head.flags & NOBODY) != 0,
      .user = head.user,
      .token = head.token,
      .since_ms = head.since_ms,
      .deadline_ms = (head.flags & NO_END) != 0 ? RULES_NEVER : head.deadline_ms,
      .lease_ms = head.lease_ms,
      .attempt = head.attempt,
  };
  const char *from = bytes.data + sizeof head;
  image->key.form = (enum key_form)(head.phase_form >> FORM_SHIFT);
  image->key.bytes = take(&from, head.key_len, true);
  image->fingerprint = take(&from, head.fingerprint_len, (head.flags & FINGERPRINT) != 0);
  image->body = take(&from, head.second_len, (head.flags & SECOND) != 0);
  image->meta = take(&from, head.third_len, (head.flags & THIRD) != 0);
  return head.bytes;
}
