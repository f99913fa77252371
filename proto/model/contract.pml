/*
 * contract.pml - what the contract promises, checked by spin in every order of events.
 *
 *     spin -a contract.pml && cc -DSAFETY -o pan pan.c && ./pan -m100000
 *
 * Three callers want one key: 0 and 1 try the same request, 2 has another and may begin a newer
 * one. They claim, wait, do their work, say how it ended, or crash. An operator settles what has
 * ended; time ends leases and records; the server may restart without its memory. What a command
 * does to the record is in rules.pml, which is printed from the server's own code. What callers
 * know is kept beside it, and the assertions compare the two.
 *
 * Each turn of `world` is one event: `who` does `what`. A token is FORMER (used up), CURRENT (of
 * the last grant, or shown to readers) or NEW (the next one): more is never asked of it. A grant
 * may have acted until its owner says RELEASE.
 */
#define NONE 3     /* no caller */
#define ATTEMPTS 3 /* callers do not ask for more */
#define REQUEST(caller) ((caller) / 2)

#define FORMER 1
#define CURRENT 2
#define NEW 3

byte now = 1;
#include "rules.pml"

mtype = {CLAIMS, STORES, RENEWS, RELEASES, CLOSES, CRASHES, DELETES, LEASE_ENDS, RECORD_ENDS,
         RESTARTS, NEWER};

/* ---- the server ---- */
byte queue[2], waiting;
bool wants_hold[3], wants_bind[3]; /* of those who wait */
byte horizon;                      /* requests born up to then may be forgotten */

/* ---- what callers know ---- */
byte mine[3];       /* the token that each has; 0: none */
byte owner = NONE;  /* whose OWNER the record has */
byte born[2] = {1, 1};
byte acted[2];      /* grants of this record that may have acted, for each request */
bool answered[2];   /* the request waited, and got the response */
bool lost[2];       /* either, of a record that went, and not on purpose */
bool hold_asked;    /* by one of these grants */
bool nobodys;       /* the current token was granted to nobody */
bool bound;         /* the current grant ends with its owner's connection */

#define may_have_acted (acted[0] + acted[1])
#define forgotten(caller) (born[REQUEST(caller)] <= horizon)
#define waits(caller) \
  ((waiting > 0 && queue[0] == caller) || (waiting > 1 && queue[1] == caller))
#define is_grant (verdict == GRANT_FIRST || verdict == GRANT_NEXT)
#define is_stale (verdict == STALE_ABSENT || verdict == STALE_STORED || verdict == STALE_OVERTAKEN)
#define is_sooner 0 /* of `until`: a part of it has passed */

/* ---- the event ---- */
hidden mtype what, word;
hidden mtype how;         /* the grant ends so; 0: it does not */
hidden byte who, with;    /* the token */
hidden byte granted_to;
hidden byte asks_hold, asks_bind; /* of CLAIMS */
hidden byte same_bytes, kept, took_over, was_done, was_held;

inline either(value) {
  if
  :: value = 0
  :: value = 1
  fi
}

inline forget_grants() {
  acted[0] = 0; acted[1] = 0;
  answered[0] = false; answered[1] = false;
  hold_asked = false; nobodys = false; bound = false
}

inline answer_all() {
  waiting = 0; queue[0] = 0; queue[1] = 0;
  wants_hold[0] = false; wants_hold[1] = false; wants_hold[2] = false;
  wants_bind[0] = false; wants_bind[1] = false; wants_bind[2] = false
}

inline leave_queue(caller) {
  if
  :: queue[0] == caller -> queue[0] = queue[1]
  :: else
  fi;
  queue[1] = 0;
  waiting--
}

/* ---- commands ---- */

inline claim() {
  took_over = (with == CURRENT && token == CURRENT);
  was_held = (phase == HELD && owner != who);
  rules_claim(true, (owner == who), asks_hold, asks_bind, with, forgotten(who), false, NEW);
  if
  :: is_grant ->
     assert(!was_held);                                        /* LEASE: of another it runs */
     granted_to = who
  :: verdict == GRANT_AGAIN ->
     assert(owner == who);
     hold_asked = hold_asked || asks_hold;
     bound = asks_bind;
     assert(hold == hold_asked);                               /* HOLD */
     assert(until == LEASE)                                    /* LEASE */
  :: verdict == SAY_BUSY ->
     wants_hold[who] = asks_hold;
     wants_bind[who] = asks_bind;
     queue[waiting] = who;
     waiting++
  :: verdict == SAY_UNKNOWN -> assert(!took_over)              /* NO WEDGE: TAKEOVER frees it */
  :: else
  fi
}

inline store() {
  was_done = (phase == DONE);
  rules_store(with, same_bytes, kept);
  if
  :: with == FORMER -> assert(is_stale)                        /* ONE OWNER */
  :: with == CURRENT && was_done && same_bytes -> assert(verdict == SAME_STORED)
  :: with == CURRENT && was_done && !same_bytes -> assert(verdict == CONFLICT)
  :: else -> assert(verdict == STORED || verdict == SHARED)    /* LATE */
  fi;
  if
  :: verdict == STORED ->
     answered[0] = (waits(0) || waits(1));
     answered[1] = waits(2);
     answer_all();
     owner = NONE; nobodys = false; bound = false
  :: verdict == SHARED -> answer_all(); what = RELEASES        /* with the same word */
  :: else
  fi
}

inline renew() {
  rules_renew(with);
  assert(with != FORMER || is_stale);                          /* ONE OWNER */
  assert(with != CURRENT || !is_open || verdict == RENEWED);   /* LATE */
  assert(verdict != RENEWED || until == LEASE)                 /* LEASE */
}

inline release() {
  rules_release(with, word);
  if
  :: with == FORMER || !is_open -> assert(verdict == NOT_YOURS)        /* ONE OWNER */
  :: is_open && with == CURRENT && nobodys && word == DID_NOTHING ->
     assert(verdict == NOT_YOURS)                              /* EVIDENCE: none is struck out */
  :: else -> assert(verdict != NOT_YOURS)                      /* LATE; of CLEAR: NO WEDGE */
  fi;
  if
  :: verdict == RELEASE -> how = ends_as
  :: else
  fi
}

/* ---- a grant ends, a grant begins ---- */

/* What the owner, or an operator, knows; of time it is UNSURE. */
inline take_back() {
  if
  :: word == CLEAR -> forget_grants()
  :: word == DID_NOTHING ->
     if
     :: owner != NONE -> acted[REQUEST(owner)]--
     :: else
     fi;
     hold_asked = hold_asked && may_have_acted > 0
  :: else
  fi
}

inline end_grant() {
  take_back();
  do
  :: rules_end_grant(how, (waiting > 0), NEW);
     if
     :: after == HAND_OVER ->
        who = queue[0];
        leave_queue(who);
        asks_hold = wants_hold[who];
        asks_bind = wants_bind[who];
        wants_hold[who] = false;
        wants_bind[who] = false;
        rules_hand_over(how, asks_hold, asks_bind, forgotten(who), NEW);
        if
        :: verdict == SAY_FORGOTTEN                            /* the next one is tried */
        :: else -> granted_to = who; break
        fi
     :: after == TO_UNKNOWN -> answer_all(); break
     :: after == TO_LAPSED -> assert(!hold_asked); break       /* HOLD */
     :: after == TO_ABSENT -> assert(may_have_acted == 0); forget_grants(); break /* EVIDENCE */
     fi
  od;
  if
  :: word == DID_NOTHING && is_open && after != HAND_OVER ->
     assert(token == NEW);                                     /* ONE OWNER: the other is used up */
     nobodys = true; bound = false;
     owner = NONE
  :: else
  fi
}

inline begin_grant() {
  assert(token == NEW);                                        /* ONE OWNER */
  assert(attempt == may_have_acted + 1);                       /* EVIDENCE */
  assert(attempt > 1 || !lost[REQUEST(granted_to)]);           /* FORGOTTEN */
  assert(!hold_asked || took_over);                            /* HOLD */
  hold_asked = hold_asked || asks_hold;
  assert(phase == HELD && hold == hold_asked);                 /* HOLD */
  assert(until == LEASE);                                      /* LEASE */
  acted[REQUEST(granted_to)]++;
  nobodys = false; bound = asks_bind;
  owner = granted_to
}

inline lose_record() {
  lost[0] = lost[0] || acted[0] > 0 || answered[0];
  lost[1] = lost[1] || acted[1] > 0 || answered[1];
  forget_grants();
  answer_all();
  phase = ABSENT
}

/* ---- between two events ---- */

inline use_up(caller) {
  if
  :: mine[caller] == CURRENT -> mine[caller] = FORMER
  :: else
  fi
}

/* A token that was used up is FORMER from now on. */
inline settle_tokens() {
  if
  :: phase == ABSENT || token == NEW -> use_up(0); use_up(1); use_up(2)
  :: else
  fi;
  if
  :: phase == ABSENT ->
     token = 0; attempt = 0; since = 0; hold = false; bind = false; nobody = false;
     until = NEVER;
     owner = NONE
  :: phase != ABSENT && token == NEW -> token = CURRENT
  :: else
  fi;
  if
  :: granted_to != NONE -> mine[granted_to] = CURRENT
  :: else
  fi
}

inline look() {
  assert(phase == HELD || waiting == 0);                       /* NO WEDGE: there is an owner */
  assert(!is_open || attempt == may_have_acted);               /* EVIDENCE */
  rules_read(false);
  assert(phase != LAPSED || verdict == SAY_LAPSED);            /* EVIDENCE */
  rules_due(false, false);
  assert(phase != HELD || bind == bound);                      /* LEASE */
  assert(verdict == NOT_DUE);                                  /* LEASE: not before its time */
  if
  :: until == LEASE -> until = is_sooner
  :: else
  fi
}

/* ---- who does what ---- */

inline choose_token() {
  if
  :: mine[who] != 0 ->
     with = mine[who];
     if
     :: word = DID_NOTHING
     :: word = UNSURE
     :: word = CLEAR
     fi
  :: has_ended -> /* an operator: with the token that readers see, and after a look */
     with = CURRENT;
     who = NONE;
     if
     :: word = CLEAR
     :: nobodys -> word = DID_NOTHING /* the same RELEASE once more */
     fi
  fi
}

inline choose() {
  if
  :: !waits(0) -> who = 0
  :: !waits(1) -> who = 1
  :: !waits(2) -> who = 2
  fi;
  if
  :: phase != DONE && attempt + waiting < ATTEMPTS && waiting < 2 -> what = CLAIMS;
     either(asks_hold);
     either(asks_bind);
     if
     :: with = 0
     :: phase != ABSENT -> with = CURRENT
     :: mine[who] == FORMER -> with = FORMER
     fi
  :: mine[who] != 0 || has_ended -> choose_token(); what = STORES; either(same_bytes); either(kept)
  :: mine[who] != 0 -> with = mine[who]; what = RENEWS
  :: mine[who] != 0 || has_ended -> choose_token(); what = RELEASES
  :: mine[who] != 0 -> what = CRASHES; word = UNSURE
  :: mine[who] != 0 -> what = CLOSES; word = UNSURE
  :: phase != ABSENT -> what = DELETES; word = CLEAR
  :: phase == HELD -> what = LEASE_ENDS; word = UNSURE
  :: phase != ABSENT && phase != HELD && until != NEVER -> what = RECORD_ENDS
  :: what = RESTARTS
  :: born[1] == 1 && who == 2 && acted[1] == 0 -> what = NEWER
  fi
}

inline from_elsewhere() {
  if
  :: what == CLOSES || what == CRASHES -> /* its connection; its process begins anew */
     if
     :: owner == who && bind && phase == HELD -> how = BIND_CLOSED
     :: owner == who && !(bind && phase == HELD) -> bind = false
     :: else
     fi;
     if
     :: owner == who -> bound = false
     :: else
     fi;
     if
     :: what == CRASHES ->
        mine[who] = 0;
        owner = (owner == who -> NONE : owner)
     :: else
     fi
  :: what == DELETES && phase == HELD -> how = CLEARED
  :: what == DELETES && phase != HELD -> forget_grants(); phase = ABSENT
  :: what == LEASE_ENDS ->
     rules_due(false, true);
     assert(verdict == DUE_LEASE_OVER);                        /* NO WEDGE */
     how = LEASE_OVER
  :: what == RECORD_ENDS ->
     assert(phase != UNKNOWN);                                 /* HOLD */
     horizon = (horizon < since -> since : horizon);
     lose_record()
  :: what == RESTARTS -> horizon = now; lose_record()
  :: what == NEWER -> now++; born[1] = now; lost[1] = false; answered[1] = false; mine[2] = 0
  :: else
  fi
}

active proctype world() {
  do
  :: atomic {
       granted_to = NONE; how = 0; took_over = 0; after = 0;
       choose();
       if
       :: what == CLAIMS -> claim()
       :: what == STORES -> store()
       :: what == RENEWS -> renew()
       :: else -> from_elsewhere()
       fi;
       if
       :: what == RELEASES -> release()
       :: else
       fi;
       if
       :: how != 0 -> end_grant()
       :: else
       fi;
       if
       :: granted_to != NONE -> begin_grant()
       :: else
       fi;
       settle_tokens();
       look()
     }
  od
}
