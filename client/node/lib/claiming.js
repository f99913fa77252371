/*
 * claiming.js - asking for a claim: over the shared connection first, so that only real duplicates that may wait cost
 * a connection of their own.
 */
'use strict';

const { randomUUID } = require('node:crypto');
const { parsed } = require('./reply.js');
const { Refusal, NoAnswer } = require('./errors.js');

class Claiming {
  #store;
  #settings;

  constructor(store, settings) {
    this.#store = store;
    this.#settings = settings;
  }

  /* fingerprint: bytes or null; born: unix ms or null; left(): an AbortSignal. Returns what reply.js makes of the answer.
   * Throws Refusal, NoAnswer, or Error for what is no answer of idem. */
  async ask({ record, fingerprint, born, left }) {
    const words = this.#words(record, fingerprint, born);
    try {
      const reply = parsed(await this.#store.call(words));
      if (reply.status !== 'BUSY' || this.#settings.waitMs === 0 || !this.#store.canWait()) return reply;
      return await this.#wait(words, left());
    } catch (error) {
      // What runs unguarded may act: then the lease ends by itself, and the next one is told.
      if (error instanceof NoAnswer && error.sent && !this.#settings.failOpen) this.#giveBack(words);
      throw error;
    }
  }

  /* The OWNER names this call: a lost reply is asked again with it, and gets the same token. */
  #words(record, fingerprint, born) {
    const { leaseMs, hold } = this.#settings;
    return ['IDEM.CLAIM', record, 'OWNER', randomUUID(), 'LEASE', leaseMs,
      ...(fingerprint === null ? [] : ['FP', fingerprint]),
      ...(born === null ? [] : ['BORN', born]),
      ...(hold ? ['HOLD'] : [])];
  }

  /* A client that leaves while it waits has done nothing, also when it was granted the claim at that moment. */
  async #wait(words, left) {
    try {
      const reply = parsed(await this.#store.wait(words, this.#settings.waitMs, left));
      if (!left.aborted || reply.status !== 'CLAIMED') return reply;
    } catch (error) {
      if (!left.aborted) throw error;
    }
    this.#giveBack(words);
    return { status: 'BUSY' };
  }

  /* A CLAIM whose answer was not seen may have been granted, and nobody runs it: without this the next one would be
   * attempt 2, and with `hold` UNKNOWN. */
  #giveBack(words) {
    const attempt = async () => {
      try {
        const reply = parsed(await this.#store.call(words));
        if (reply.status === 'CLAIMED') await this.#store.call(['IDEM.RELEASE', words[1], reply.token]);
      } catch (error) {
        if (!(error instanceof Refusal)) throw error; // a refusal says that there is nothing to give back
      }
    };
    this.#store.givingBack.add({ until: performance.now() + this.#settings.leaseMs, words, attempt });
  }
}

module.exports = { Claiming };
