/*
 * grant.js - one granted claim: renewed while the work runs, and ended once.
 *
 * How it ends, by what became of the work:
 *     an answer                             STORE TTL, or TTL 0 (shared with those who wait, not kept)
 *     an answer 5xx                         STORE TTL 0 UNSURE: it may have got half way
 *     an exception                          RELEASE UNSURE
 *     an exception that knows: DidNothing   RELEASE
 * Knows no framework and no HTTP but the number of a status.
 */
'use strict';

const { encoded, isReplayable } = require('./meta.js');
const { named } = require('./log.js');
const { parsed } = require('./reply.js');
const { Refusal } = require('./errors.js');
const { TTL_LIMIT_MS } = require('./settings.js');

const STAGE_LIMIT = 1024; // bytes, the server's
const RENEWALS_A_LEASE = 3;

/* Thrown by work that knows that it has done nothing: the next one runs as attempt 1. */
class DidNothing extends Error {
  constructor(message = 'nothing was done', { status = 503, ...options } = {}) {
    super(message, options);
    this.name = 'DidNothing';
    this.status = status;
  }
}

/* What a handler is given. The README of this package describes its members. */
class Claim {
  #grant;

  constructor(grant) {
    this.#grant = grant;
  }

  get token() { return this.#grant.token; }
  get attempt() { return this.#grant.attempt; }
  get stage() { return this.#grant.stage; }
  get lost() { return this.#grant.lost; }

  setStage(text) { return this.#grant.setStage(text); }
  didNothing() { this.#grant.nothing = true; }

  keep(howLong) {
    if (typeof howLong !== 'boolean' && !(Number.isInteger(howLong) && howLong > 0 && howLong <= TTL_LIMIT_MS)) {
      throw new TypeError(`keep() takes true, false, or whole milliseconds from 1 to ${TTL_LIMIT_MS}`);
    }
    this.#grant.kept = howLong;
  }
}

class Grant {
  nothing = false; // the handler said so
  kept = true; // false, or ms: the handler asked for less
  failed = false; // an exception was seen; its answer is still to come
  lost = false; // another owner has taken over
  #context; // {store, log, settings, emit, replay: what becomes of a reply of FETCH}
  #record;
  #began = performance.now(); // no clock that can be set: it decides how long a lease is renewed
  #leaseEnd; // of the same clock, as far as is known
  #timer = null;
  #over = false;
  #unsure = false; // it is over, may have acted, and the server knows
  #renewedLate = false; // a renewal was granted when it was over

  constructor(context, record, claimed) {
    this.#context = context;
    this.#record = record;
    this.token = claimed.token;
    this.attempt = claimed.attempt;
    this.stage = claimed.stage;
    this.claim = new Claim(this);
    this.#renewed();
  }

  // ---- while the work runs ----

  /* False: it hangs, by the setting renewForMs. */
  get hasTime() {
    return performance.now() < this.#began + this.#context.settings.renewForMs;
  }

  #renewed() {
    const { leaseMs } = this.#context.settings;
    this.#leaseEnd = performance.now() + leaseMs;
    this.#nextRenewal();
  }

  /* There is one timer, also when a stage was told while a renewal was on its way. */
  #nextRenewal() {
    const { leaseMs, renewForMs } = this.#context.settings;
    const pause = Math.ceil(leaseMs / RENEWALS_A_LEASE);
    clearTimeout(this.#timer);
    if (this.#over || this.lost || performance.now() + pause > this.#began + renewForMs) return;
    this.#timer = setTimeout(() => this.#renew(), pause);
    this.#timer.unref();
  }

  async #renew(stage = null) {
    if (this.#over) return;
    const { store, settings } = this.#context;
    const words = ['IDEM.RENEW', this.#record, this.token, 'LEASE', settings.leaseMs];
    if (stage !== null) words.push('STAGE', stage);
    clearTimeout(this.#timer);
    try {
      await store.call(words);
      if (this.#over) this.#undo('renewedLate');
      else this.#renewed();
    } catch (error) {
      this.#notRenewed(error);
      if (stage !== null) throw error;
    }
  }

  /* A RENEW that comes after a RELEASE UNSURE takes a claim up again that nobody works on. It is released once more, as soon
   * as both are known to have come. */
  #undo(what) {
    if (what === 'renewedLate') this.#renewedLate = true;
    else this.#unsure = true;
    if (!this.#renewedLate || !this.#unsure) return;
    this.#renewedLate = false;
    this.#context.store.call(this.#releasing('UNSURE')).catch(() => {}); // its lease ends by itself
  }

  #notRenewed(error) {
    if (this.#over || this.lost) return; // it has ended meanwhile, and says what became of it by itself
    if (error.code === 'STALE') {
      this.lost = true;
      this.#say('error', 'another caller has taken over while the work runs', error);
      this.#emit('lost');
      return;
    }
    this.#say('warn', 'not renewed', error);
    this.#emit('renewal_failed');
    this.#nextRenewal();
  }

  async setStage(stage) {
    const text = String(stage);
    if (Buffer.byteLength(text) > STAGE_LIMIT) throw new RangeError(`a stage has at most ${STAGE_LIMIT} bytes`);
    if (this.#over) throw new Error('the claim has ended');
    await this.#renew(text);
    this.stage = text;
  }

  // ---- its end ----

  /* An answer. headers: pairs, those to be stored; body: null when it is not kept. Returns null when that answer is to
   * be sent, or else the one that stands for it: {status, headers, body}. Throws what the setting `keep` throws; then the
   * claim has ended as after an exception. */
  async answered(status, headers, body) {
    if (this.#over) return null;
    const keeps = await this.#keeps(status);
    if (!this.#end()) return null;
    if (this.nothing) return this.#release();
    if (this.failed && status >= 500) return this.#release('UNSURE');
    const store = (bytes, head) => this.#storing(bytes, encoded(status, head), keeps, status);
    const notKept = store('', null);
    return this.#store(body === null || !isReplayable(status) ? notKept : store(body, headers), notKept, status);
  }

  /* The setting is asked while the claim is still renewed. */
  async #keeps(status) {
    if (this.kept === false || this.nothing || (this.failed && status >= 500)) return false;
    try {
      return await this.#context.settings.keep(status);
    } catch (error) {
      await this.raised(error);
      throw error;
    }
  }

  /* A result that is no response, with its own META. notKept: the META without a body. */
  async finished(body, meta, notKept) {
    if (!this.#end()) return null;
    if (this.nothing) return this.#release();
    const keeps = this.kept !== false;
    return this.#store(this.#storing(body, meta, keeps), this.#storing('', notKept, keeps), null);
  }

  /* status: null for a result that is no response. */
  #storing(body, meta, keeps, status = null) {
    const ttlMs = keeps ? (this.kept === true ? this.#context.settings.ttlMs : this.kept) : 0;
    const unsure = status >= 500 && ttlMs === 0 ? ['UNSURE'] : [];
    return { words: ['IDEM.STORE', this.#record, this.token, body, 'TTL', ttlMs, 'META', meta, ...unsure], ttlMs };
  }

  /* An exception that no answer will follow. */
  async raised(error = null) {
    if (!this.#end()) return;
    await this.#release(...(this.nothing || error instanceof DidNothing ? [] : ['UNSURE']));
  }

  /* The work was not begun. */
  async dismissed() {
    this.nothing = true;
    await this.raised();
  }

  /* True for the first who ends it. */
  #end() {
    if (this.#over) return false;
    this.#over = true;
    clearTimeout(this.#timer);
    return true;
  }

  /* what, notKept: of #storing(); notKept is what is stored instead when the server finds it too big. */
  async #store(what, notKept, status) {
    const stored = () => this.#emit(what === notKept ? 'not_kept' : what.ttlMs > 0 ? 'stored' : 'shared', status);
    try {
      await this.#context.store.call(what.words);
      stored();
      if (what.words.at(-1) === 'UNSURE') this.#undo('unsure');
      return null;
    } catch (error) {
      if (error.code === 'STALE') return this.#overtaken(error, status);
      if (error.code === 'TOOBIG' && what !== notKept) return this.#store(notKept, notKept, status);
      this.#say('error', 'the response is NOT stored', error);
      this.#emit('not_stored', status);
      this.#storeLater(what.words, stored);
      return null;
    }
  }

  #storeLater(words, stored) {
    const attempt = async () => {
      await this.#context.store.call(words);
      stored();
    };
    const hasRoom = this.#context.store.later.add({ until: this.#leaseEnd, words, attempt });
    if (!hasRoom) this.#context.log.error(`${named(this.#record)} (token ${this.token}): it is not tried again: too much waits for that`);
  }

  /* One key, one answer: if the other owner has answered, its answer is everybody's. */
  async #overtaken(stale, status) {
    this.#say('error', 'another caller took over, this response is not stored', stale);
    this.#emit('overtaken', status);
    try {
      const now = parsed(await this.#context.store.call(['IDEM.FETCH', this.#record]));
      return now.status === 'DONE' || now.status === 'BUSY' ? this.#context.replay(now) : null;
    } catch (error) {
      this.#say('error', 'what the other caller answered is not known', error);
      return null;
    }
  }

  #releasing(...how) {
    return ['IDEM.RELEASE', this.#record, this.token, ...how];
  }

  async #release(...how) {
    try {
      await this.#context.store.call(this.#releasing(...how));
      this.#emit(how.length > 0 ? 'unsure' : 'released');
      if (how.length > 0) this.#undo('unsure');
    } catch (error) {
      this.#say('error', 'not released, the lease runs on', error);
    }
    return null;
  }

  #say(level, what, error) {
    const why = error instanceof Refusal ? error.message : `no answer: ${error.message}`;
    this.#context.log[level](`${named(this.#record)} (token ${this.token}): ${what}: ${why}`);
  }

  #emit(name, status = null) {
    this.#context.emit(name, { status, attempt: this.attempt });
  }
}

module.exports = { DidNothing, Grant };
