/*
 * rules.pml - the contract's table of events: (record, request) -> verdict and record.
 *
 * Printed by tests/explore/print_model.c, which asks server/rules/rules.c; not to be edited.
 * The guards of a table exclude each other; what is not assigned stays. Conditions that do
 * not matter are left out. contract.pml says who asks.
 */
#define is_open (phase == HELD || phase == LAPSED || phase == UNKNOWN)
#define has_ended (phase == LAPSED || phase == UNKNOWN)

mtype = {ABSENT, HELD, LAPSED, UNKNOWN, DONE}; /* phases */
mtype = {LEASE, RETENTION, TTL, NEVER}; /* how long a phase lasts */
mtype = {GRANT_FIRST, GRANT_NEXT, GRANT_AGAIN, NO_GRANT, SAY_FORGOTTEN, SAY_BUSY, SAY_LAPSED,
         SAY_UNKNOWN, SAY_DONE, SAY_NOTHING, MISMATCH, STORED, SHARED, SAME_STORED, CONFLICT,
         RENEWED, RELEASE, LEFT_AS_IT_IS, NOT_YOURS, STALE_ABSENT, STALE_STORED,
         STALE_OVERTAKEN, NOT_DUE, DUE_LEASE_OVER, DUE_BIND_CLOSED, DUE_GONE}; /* verdicts */
mtype = {DID_NOTHING, UNSURE, CLEAR}; /* words of RELEASE */
mtype = {LEASE_OVER, BIND_CLOSED, SAID_UNSURE, RELEASED, CLEARED}; /* ends of a grant */
mtype = {HAND_OVER, TO_LAPSED, TO_UNKNOWN, TO_ABSENT}; /* what follows */

/* The record. */
mtype phase = ABSENT;
byte attempt, token, since;
bool hold, bind, nobody;
mtype until = NEVER;

/* What a table answers. */
hidden mtype verdict, ends_as, after;

/* CLAIM. takeover, new_token: tokens. */
inline rules_claim(fingerprint_matches, owner_matches, claim_hold, claim_bind, takeover,
                   forgotten, no_grants, new_token) {
  if
  :: phase == ABSENT && !forgotten && !no_grants ->
     verdict = GRANT_FIRST; phase = HELD; token = new_token; attempt = 1; hold = claim_hold;
     bind = claim_bind; since = now; until = LEASE
  :: phase == ABSENT && !forgotten && no_grants ->
     verdict = NO_GRANT
  :: phase == ABSENT && forgotten ->
     verdict = SAY_FORGOTTEN
  :: phase != ABSENT && !fingerprint_matches ->
     verdict = MISMATCH
  :: phase == HELD && fingerprint_matches && !owner_matches ->
     verdict = SAY_BUSY
  :: phase == HELD && fingerprint_matches && owner_matches ->
     verdict = GRANT_AGAIN; hold = hold || claim_hold; bind = claim_bind; until = LEASE
  :: phase == LAPSED && fingerprint_matches && !no_grants ->
     verdict = GRANT_NEXT; phase = HELD; token = new_token; attempt = attempt + 1;
     hold = claim_hold; bind = claim_bind; nobody = false; since = now; until = LEASE
  :: phase == LAPSED && fingerprint_matches && no_grants ->
     verdict = NO_GRANT
  :: phase == UNKNOWN && fingerprint_matches && takeover != token ->
     verdict = SAY_UNKNOWN
  :: phase == UNKNOWN && fingerprint_matches && takeover == token && !no_grants ->
     verdict = GRANT_NEXT; phase = HELD; token = new_token; attempt = attempt + 1;
     bind = claim_bind; nobody = false; since = now; until = LEASE
  :: phase == UNKNOWN && fingerprint_matches && takeover == token && no_grants ->
     verdict = NO_GRANT
  :: phase == DONE && fingerprint_matches ->
     verdict = SAY_DONE
  fi
}

/* FETCH, WAIT. */
inline rules_read(fingerprint_differs) {
  if
  :: phase == ABSENT ->
     verdict = SAY_NOTHING
  :: phase == HELD && !fingerprint_differs ->
     verdict = SAY_BUSY
  :: phase != ABSENT && fingerprint_differs ->
     verdict = MISMATCH
  :: phase == LAPSED && !fingerprint_differs ->
     verdict = SAY_LAPSED
  :: phase == UNKNOWN && !fingerprint_differs ->
     verdict = SAY_UNKNOWN
  :: phase == DONE && !fingerprint_differs ->
     verdict = SAY_DONE
  fi
}

/* STORE. with: the token that it brings; kept: with a TTL above 0. */
inline rules_store(with, same_bytes, kept) {
  if
  :: phase == ABSENT ->
     verdict = STALE_ABSENT
  :: is_open && with != token ->
     verdict = STALE_OVERTAKEN
  :: is_open && with == token && !kept ->
     verdict = SHARED
  :: is_open && with == token && kept ->
     verdict = STORED; phase = DONE; nobody = false; since = now; until = TTL
  :: phase == DONE && with != token ->
     verdict = STALE_STORED
  :: phase == DONE && with == token && !same_bytes ->
     verdict = CONFLICT
  :: phase == DONE && with == token && same_bytes ->
     verdict = SAME_STORED
  fi
}

/* RENEW. */
inline rules_renew(with) {
  if
  :: phase == ABSENT ->
     verdict = STALE_ABSENT
  :: is_open && with != token ->
     verdict = STALE_OVERTAKEN
  :: phase == HELD && with == token ->
     verdict = RENEWED; until = LEASE
  :: has_ended && with == token && !nobody ->
     verdict = RENEWED; phase = HELD; until = LEASE
  :: has_ended && with == token && nobody ->
     verdict = STALE_OVERTAKEN
  :: phase == DONE ->
     verdict = STALE_STORED
  fi
}

/* RELEASE. When the verdict is RELEASE, rules_end_grant(ends_as, ...) follows. */
inline rules_release(with, word) {
  if
  :: (phase == ABSENT || phase == DONE) ->
     verdict = NOT_YOURS
  :: is_open && with != token ->
     verdict = NOT_YOURS
  :: phase == HELD && with == token && word == DID_NOTHING ->
     verdict = RELEASE; ends_as = RELEASED
  :: phase == HELD && with == token && word == UNSURE ->
     verdict = RELEASE; ends_as = SAID_UNSURE
  :: is_open && with == token && word == CLEAR ->
     verdict = RELEASE; ends_as = CLEARED
  :: has_ended && with == token && !nobody && word == DID_NOTHING ->
     verdict = RELEASE; ends_as = RELEASED
  :: has_ended && with == token && word == UNSURE ->
     verdict = LEFT_AS_IT_IS
  :: has_ended && with == token && nobody && word == DID_NOTHING ->
     verdict = NOT_YOURS
  fi
}

/* The grant ends, or is released or cleared after its end. claim_waits: one is queued. */
inline rules_end_grant(end, claim_waits, new_token) {
  if
  :: (end == LEASE_OVER || end == SAID_UNSURE) && !claim_waits && !hold ->
     after = TO_LAPSED; phase = LAPSED; until = RETENTION
  :: (end == LEASE_OVER || end == SAID_UNSURE) && hold ->
     after = TO_UNKNOWN; phase = UNKNOWN; until = NEVER
  :: claim_waits && !hold ->
     after = HAND_OVER
  :: end == BIND_CLOSED && !claim_waits && !hold ->
     after = TO_LAPSED; phase = LAPSED; bind = false; until = RETENTION
  :: end == BIND_CLOSED && hold ->
     after = TO_UNKNOWN; phase = UNKNOWN; bind = false; until = NEVER
  :: (end == RELEASED || end == CLEARED) && !claim_waits && attempt == 1 ->
     after = TO_ABSENT; phase = ABSENT
  :: end == RELEASED && !claim_waits && attempt > 1 && !hold ->
     after = TO_LAPSED; phase = LAPSED; token = new_token; attempt = attempt - 1; bind = false;
     nobody = true; since = now; until = RETENTION
  :: end == RELEASED && attempt > 1 && hold ->
     after = TO_UNKNOWN; phase = UNKNOWN; token = new_token; attempt = attempt - 1; bind = false;
     nobody = true; since = now; until = NEVER
  :: (end == RELEASED || end == CLEARED) && claim_waits && attempt == 1 && hold ->
     after = HAND_OVER
  :: end == CLEARED && !claim_waits && attempt > 1 ->
     after = TO_ABSENT; phase = ABSENT
  :: end == CLEARED && claim_waits && attempt > 1 && hold ->
     after = HAND_OVER
  fi
}

/* After HAND_OVER: to the oldest CLAIM that waits. */
inline rules_hand_over(end, claim_hold, claim_bind, forgotten, new_token) {
  if
  :: (end == LEASE_OVER || end == BIND_CLOSED || end == SAID_UNSURE) ->
     verdict = GRANT_NEXT; token = new_token; attempt = attempt + 1; hold = claim_hold;
     bind = claim_bind; since = now; until = LEASE
  :: (end == RELEASED || end == CLEARED) && attempt == 1 && !forgotten ->
     verdict = GRANT_FIRST; token = new_token; hold = claim_hold; bind = claim_bind; since = now;
     until = LEASE
  :: (end == RELEASED || end == CLEARED) && attempt == 1 && forgotten ->
     verdict = SAY_FORGOTTEN
  :: end == RELEASED && attempt > 1 ->
     verdict = GRANT_NEXT; token = new_token; hold = claim_hold; bind = claim_bind; since = now;
     until = LEASE
  :: end == CLEARED && attempt > 1 && !forgotten ->
     verdict = GRANT_FIRST; token = new_token; attempt = 1; hold = claim_hold; bind = claim_bind;
     since = now; until = LEASE
  :: end == CLEARED && attempt > 1 && forgotten ->
     verdict = SAY_FORGOTTEN
  fi
}

/* Time. over: `until` has come; closed: its connection was closed before that. */
inline rules_due(closed, over) {
  if
  :: phase == ABSENT ->
     verdict = NOT_DUE
  :: phase != ABSENT && !closed && !over ->
     verdict = NOT_DUE
  :: phase == HELD && !closed && over ->
     verdict = DUE_LEASE_OVER
  :: phase == HELD && closed ->
     verdict = DUE_BIND_CLOSED
  :: (phase == LAPSED || phase == UNKNOWN || phase == DONE) && over ->
     verdict = DUE_GONE
  :: (phase == LAPSED || phase == UNKNOWN || phase == DONE) && closed && !over ->
     verdict = NOT_DUE
  fi
}
