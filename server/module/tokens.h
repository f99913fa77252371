/*
 * tokens.h - the clock of the module, and the numbers of grants.
 *
 * The clock is the wall clock, which never runs backwards here: where it is set back, it stands. A
 * token is the greatest of what the clock gives, one more than the highest that was seen, and one
 * more than the record's: records move between masters, so each grant asks the clock, and not only
 * the start of the process, as the server does.
 *
 * Pure: the caller reads the wall clock. Invariant: no token is given twice by one master, and all
 * stay below RULES_TOKEN_LIMIT.
 */
#ifndef IDEM_SERVER_MODULE_TOKENS_H
#define IDEM_SERVER_MODULE_TOKENS_H

#include <stdbool.h>
#include <stdint.h>

/* By so much a replica that becomes master, a process that starts with records, and a master that
 * slots come to are ahead of their clock: as much may the clocks of masters differ without a token
 * that falls. In the minute after, its own tokens are as far ahead, so the next master that its
 * keys come to, by a slot or by another failover, has only the time in between left of that: with
 * equal clocks tokens rise along any chain, since each one leads later than the one before; with a
 * clock that is behind by more than that time they may fall. */
#define TOKENS_LEAD_MS 60000
/* The clock is read in whole milliseconds, so a time may be too early by as much: a deadline counts
 * only when it has certainly come (rules_due). The host's own ends, PXAT, count so too. */
#define TOKENS_GRAIN_MS 1

/* Tokens that no forged record can use up: two years of a million grants a second. */
#define TOKENS_RESERVE (UINT64_C(1) << 46)

struct tokens {
  int64_t now_ms;
  uint64_t high; /* the highest that was given or seen */
};

enum tokens_clock { TOKENS_CLOCK_RIGHT, TOKENS_CLOCK_EARLY, TOKENS_CLOCK_LATE };
/* Begins at the wall clock. random: 64 bits, from which tokens begin while the clock is before the
 * epoch of tokens (EARLY). LATE: there are none left. */
enum tokens_clock tokens_init(struct tokens *tokens, int64_t wall_ms, uint64_t random);

/* The time now, given what the wall clock says. */
static inline int64_t tokens_now(struct tokens *tokens, int64_t wall_ms) {
  if (wall_ms > tokens->now_ms) tokens->now_ms = wall_ms;
  return tokens->now_ms;
}

/* The next token of a record that had `former`, 0: none. The same one until tokens_note. */
uint64_t tokens_peek(const struct tokens *tokens, uint64_t former);
/* It was given, or seen in a record that another master wrote. One of the last TOKENS_RESERVE does
 * not count: a record is a string, which other hands can make. */
void tokens_note(struct tokens *tokens, uint64_t token);
/* This process becomes master, after another one, whose last tokens it may not have seen: it leads.
 * A lead that is not above all that it saw shows a clock that is behind, and then it goes on so
 * much above what it saw. (To go on above that whatever the clock says adds up over failovers: a
 * replica that has seen no token of the master before it then gave that master's tokens once more.)
 */
void tokens_take_over(struct tokens *tokens);
/* It serves keys that another master may just have had: as far ahead of its clock, never more. Any
 * number of times. */
void tokens_lead(struct tokens *tokens);

#endif
