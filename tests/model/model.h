/*
 * model.h - a second implementation of the contract, as naive as possible: arrays, linear searches,
 * no allocation.
 *
 * Written from the text of the contract alone, so that an error would have to be made twice. It
 * must not use the rules, nor any part of the engine except the names of its answers. Keys, owners,
 * fingerprints, bodies and so on are small numbers (NONE: absent). The model numbers the grants,
 * because the engine chooses their tokens.
 *
 * Where the contract leaves the time of an event to the server, the model does what the engine
 * promises: what is due on a key is applied when a call asks for the key. model_judge, which
 * applies it, is public, so that the runner can follow what a tick of the engine applied. A lease
 * that is handed over runs from the call that noticed it; which waiters were in time is decided by
 * the end of the former grant.
 */
#ifndef IDEM_TESTS_MODEL_MODEL_H
#define IDEM_TESTS_MODEL_MODEL_H

#include <stdbool.h>
#include <stdint.h>

#include "server/engine/effect.h"
#include "server/engine/engine_answer.h"
#include "server/engine/keys.h"

#define NONE (-1)
#define MODEL_KEYS 4096
#define MODEL_WAITERS 160
#define MODEL_BINDINGS 6
#define MODEL_EFFECTS 4 /* of one key, that the engine has not reported yet */
#define MODEL_NEVER INT64_MAX

/* Every line of the contract's table of events. A run fails when one of them never happened. */
/* clang-format off */
#define MODEL_EVENTS(X)                                                                           \
  X(claim_on_absent) X(claim_without_fingerprint) X(claim_with_empty_fingerprint)                 \
  X(claim_mismatch_on_held) X(claim_mismatch_on_lapsed) X(claim_mismatch_on_unknown)              \
  X(claim_mismatch_on_done) X(claim_mismatch_of_the_owner) X(read_mismatch_on_held)               \
  X(read_mismatch_on_lapsed) X(read_mismatch_on_unknown) X(read_mismatch_on_done) X(read_absent)  \
  X(read_held) X(read_lapsed) X(read_unknown) X(read_done) X(claim_again)                         \
  X(claim_again_moves_bind) X(claim_again_drops_bind) X(claim_again_adds_hold) X(claim_again_keeps_hold)                 \
  X(claim_again_of_a_waiters_grant) X(claim_busy) X(claim_busy_without_owners) X(claim_queued)    \
  X(claim_queued_behind_others) X(wait_queued) X(claim_on_lapsed) X(claim_on_lapsed_by_its_owner) \
  X(claim_on_lapsed_finds_stage) X(claim_on_unknown) X(takeover_on_unknown) X(takeover_with_another_token) X(takeover_keeps_hold) X(claim_forgotten) X(claim_born_after_the_horizon) X(hand_over_forgotten) X(hand_over_forgotten_to_next) X(claim_takes_its_place_in_the_queue) X(claim_takes_its_place_before_others) X(claim_on_nobodys) X(read_nobodys) X(claim_on_done)      \
  X(store_on_held) X(store_on_lapsed) X(store_on_unknown) X(store_answers_claimers)               \
  X(store_answers_readers) X(store_same) X(store_conflict_of_body) X(store_conflict_of_meta)      \
  X(store_stale_on_absent) X(store_stale_on_held) X(store_stale_on_lapsed)                        \
  X(store_stale_on_unknown) X(store_stale_on_done) X(store_stale_of_a_taken_back_token)           \
  X(store_ttl_0_shared) X(store_ttl_0_alone) X(store_ttl_0_to_lapsed) X(store_ttl_0_unsure) X(store_ttl_0_clear) X(store_ttl_0_of_nobody) X(store_of_nobody) X(store_refused_for_memory) X(renew_refused_for_memory) X(renew_on_held) X(renew_on_lapsed)                  \
  X(renew_on_unknown) X(renew_without_lease) X(renew_sets_stage) X(renew_keeps_bind)              \
  X(renew_after_bind_closed) X(renew_stale) X(renew_of_nobody) X(release_to_waiter)                                  \
  X(release_to_waiter_keeps_readers) X(release_on_held) X(release_on_lapsed)                      \
  X(release_on_unknown) X(release_struck_out) X(release_struck_out_to_unknown) X(release_struck_out_to_waiter) X(release_struck_out_unknown_to_waiters) X(release_of_nobody) X(release_unsure) X(release_unsure_to_waiter) X(release_unsure_with_hold) X(release_unsure_on_ended) X(release_clear) X(release_clear_of_a_later_attempt) X(release_clear_on_ended) X(release_clear_to_waiter) X(release_with_hold_forgets_it) X(release_not_yours) X(release_on_done) X(release_on_absent)              \
  X(lease_over_to_waiter) X(lease_over_to_waiter_keeps_readers) X(lease_over_to_lapsed)           \
  X(lease_over_readers_lapsed) X(lease_over_with_hold) X(lease_over_at_the_waiters_deadline)        \
  X(lease_over_after_the_waiters_deadline) X(bind_closed_to_waiter) X(bind_closed_to_lapsed)      \
  X(bind_closed_with_hold) X(bind_closed_after_it_moved) X(bind_closed_after_lease_over)          \
  X(unknown_to_claimers) X(unknown_to_readers) X(waiter_gone) X(ready_waiter_gone)                \
  X(taken_back_to_next) X(taken_back_twice) X(taken_back_to_lapsed) X(taken_back_to_absent)       \
  X(taken_back_too_late) X(taken_back_after_claim_again) X(wait_over_of_claimer)                  \
  X(wait_over_of_reader) X(wait_over_by_host) X(fresh_claim_behind_the_head_busy)                 \
  X(fresh_claim_behind_the_head_queued) X(done_over) X(lapsed_over) X(unknown_over) X(value_over) \
  X(delete_held) X(delete_held_to_waiter) X(delete_lapsed) X(delete_unknown) X(delete_done)       \
  X(delete_value) X(delete_absent) X(flush_held) X(flush_to_waiter) X(flush_other) X(flush_value) \
  X(busykey_of_key) X(busykey_in_all) X(wrongtype_claim) X(wrongtype_store) X(wrongtype_read)     \
  X(wrongtype_set) X(set_value) X(set_value_replaces) X(set_value_over_already)                   \
  X(deadline_of_done) X(deadline_of_value) X(deadline_refused) X(claim_refused_for_memory)        \
  X(value_refused_for_memory) X(a_thousand_records_at_once) X(scan_through) X(leaving_claim_on_absent) X(leaving_claim_on_lapsed) X(leaving_takeover) X(leaving_claim_forgotten) X(leaving_claim_again) X(leaving_busy_instead_of_a_wait) X(leaving_waiters_busy) X(leaving_reader_waits) X(leaving_lease_over) \
  X(no_room_claim_on_absent) X(no_room_claim_on_lapsed) X(no_room_takeover) X(no_room_claim_forgotten) X(no_room_claim_again) X(no_room_queued) X(held_back) X(held_back_keeps_others) X(held_back_readers_lapsed) X(held_back_unknown) X(held_back_granted) X(held_back_taken_back) X(held_back_busy) X(held_back_gone) X(held_back_deleted) X(held_back_flushed) X(held_back_stored) X(held_back_renewed) X(held_back_released) X(no_room_release_ends_waits) X(no_room_leaving)
/* clang-format on */

enum model_event {
#define X(name) EVENT_##name,
  MODEL_EVENTS(X)
#undef X
      EVENTS
};

struct model_grant { /* the fields of one grant */
  int number, owner, stage, binding;
  uint32_t attempt;
  int64_t lease_ms, since_ms;
  bool hold;
  bool nobody; /* the token is shown, and was granted to nobody */
};

struct model_key {
  enum keys_kind kind;
  enum rules_phase phase;
  int fingerprint, body, meta;
  struct model_grant grant;
  int64_t deadline_ms;
  int64_t closed_ms;  /* when the HELD claim's BIND connection closed, or MODEL_NEVER */
  int64_t flushed_ms; /* when FLUSHALL reached it, if no call has looked since, or MODEL_NEVER */
  int64_t horizon_ms; /* requests born up to then may have been forgotten */
  int64_t horizon_most_ms; /* if later: or up to then, if a tick was before FLUSHALL */
  bool bind_lost;          /* the BIND connection closed while the claim was not HELD */
  uint64_t birth;          /* rises with each key that is created */
  enum effect_kind effects[MODEL_EFFECTS];
  int effect_count;
};

struct model_answer {
  enum engine_status status;
  int grant, stage, body, meta, owner, waiter;
  uint32_t attempt;
  int64_t lease_ms, age_ms, left_ms, horizon_ms;
  uint64_t count;
};

enum model_waiting { WAITER_FREE, WAITER_WAITS, WAITER_ANSWERED };

struct model_waiter {
  enum model_waiting state;
  bool claims, hold;
  int key, owner, binding;
  int64_t lease_ms, deadline_ms;
  int64_t born_ms; /* MODEL_NEVER: not known */
  uint64_t arrival;
  struct model_answer answer;
  bool confirmed; /* its owner has shown that it knows of the grant: too late to take it back */
  bool held_back; /* when it was granted, the record was LAPSED */
  int undone;     /* grants taken back just before this one */
  enum rules_end ended_by;
  struct model_grant former;
  int64_t former_deadline_ms;
};

struct model_options {
  int64_t retention_ms, unknown_retention_ms, grain_ms;
  int64_t start_ms, skew_ms;
  int waiters_per_key, waiters_total, keys;
};

struct model {
  struct model_options options;
  struct model_key keys[MODEL_KEYS];
  struct model_waiter waiters[MODEL_WAITERS];
  bool binding_open[MODEL_BINDINGS];
  int grants; /* how many were numbered */
  uint64_t arrivals, births;
  bool effects_wanted;
  bool leaving; /* nothing is granted any more */
  bool no_room; /* nothing is granted for now */
  uint64_t events[EVENTS];
};

extern const char *const MODEL_EVENT_NAMES[EVENTS];

void model_init(struct model *model,
                const struct model_options *options); /* of a model that is all zeros */

/* Applies what is due on one key. Every call below does so first. */
void model_judge(struct model *model, int key, int64_t now_ms);
/* A tick answered this waiter: like model_judge, but while the key's grant runs on, other waiters
 * may be left for later. */
void model_judge_waiter(struct model *model, int waiter, int64_t now_ms);

struct model_claim {
  int key, fingerprint, owner, binding;
  int64_t lease_ms, wait_ms;
  int64_t born_ms; /* MODEL_NEVER: not known */
  bool hold;
  int takeover; /* a grant's number, or NONE */
};
void model_claim(struct model *model, const struct model_claim *claim, int64_t now_ms,
                 struct model_answer *answer);

struct model_store {
  int key, grant, body, meta;
  bool taken_back; /* the grant was taken back; used only to count events */
  int64_t ttl_ms;
  enum rules_word word;
};
void model_store(struct model *model, const struct model_store *store, int64_t now_ms,
                 struct model_answer *answer);

void model_renew(struct model *model, int key, int grant, int64_t lease_ms, int stage,
                 int64_t now_ms, struct model_answer *answer);
void model_release(struct model *model, int key, int grant, enum rules_word word, int64_t now_ms,
                   struct model_answer *answer);

struct model_read {
  int key, fingerprint;
  int64_t wait_ms;
};
void model_read(struct model *model, const struct model_read *read, int64_t now_ms,
                struct model_answer *answer);

void model_settle(struct model *model, int waiter);
void model_take_back(struct model *model, int waiter,
                     int64_t now_ms); /* of a waiter that has its answer */
void model_cancel(struct model *model, int waiter, int64_t now_ms);
void model_expire(struct model *model, int waiter, int64_t now_ms);

/* The journal has no room, or has room again. */
void model_set_no_room(struct model *model, bool no_room);

/* The server leaves. */
void model_stop_grants(struct model *model, int64_t now_ms);

void model_close(struct model *model, int binding, int64_t now_ms);

bool model_delete(struct model *model, int key, int64_t now_ms);
void model_flush(struct model *model, int64_t now_ms);
enum engine_status model_set_value(struct model *model, int key, int value, int64_t deadline_ms,
                                   int64_t now_ms);
bool model_set_deadline(struct model *model, int key, int64_t deadline_ms, int64_t now_ms);

/* Naive counts; the model itself does not use them. */
int model_waiting(const struct model *model, int key); /* NONE: on all keys */
int model_free_waiter(
    const struct model *model); /* where the next waiter is queued; NONE when there is no room */
bool model_present(const struct model *model, int key);

#endif
