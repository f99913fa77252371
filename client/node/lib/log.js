/*
 * log.js - what is logged. Never a client's key, a fingerprint, a body or a header: a record is named by
 * the last 8 characters of its key.
 */
'use strict';

const EVERY_MS = 1_000; // at most one line about refusals in this time: a server that is away refuses every request

const CONSOLE = {
  error: (text) => console.error(`idem: ${text}`),
  warn: (text) => console.warn(`idem: ${text}`),
};

const named = (record) => `...${record.slice(-8)}`;

class Log {
  #logger;
  #said = new Set();
  #refused = 0;
  #next = 0; // when the next line about refusals may be written

  constructor(logger) {
    this.#logger = logger ?? CONSOLE;
  }

  error(text) {
    this.#say('error', text);
  }

  warn(text) {
    this.#say('warn', text);
  }

  /* A log that is full must not end the process, nor what it tells of. */
  #say(level, text) {
    try {
      this.#logger[level](text);
    } catch {
      // there is nothing left to tell it to
    }
  }

  warnOnce(text) {
    if (this.#said.has(text)) return;
    this.#said.add(text);
    this.warn(text);
  }

  refused(text) {
    this.#refused += 1;
    const now = performance.now();
    if (now < this.#next) return;
    this.#next = now + EVERY_MS;
    this.error(`${text} (${this.#refused} since the last line)`);
    this.#refused = 0;
  }
}

module.exports = { Log, named };
