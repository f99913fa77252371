/*
 * later.js - what could not be told to a server and is tried again in the background, until it is told or its time is
 * over. It does not keep a process alive.
 *
 * While the server is away one attempt in a round finds that out. What it refuses waits longer each time, and holds up
 * nothing else.
 */
'use strict';

const { NoAnswer } = require('./errors.js');

const PAUSE_MS = 200; // between two rounds
const PAUSE_LIMIT_MS = 5_000; // between two attempts of what is refused
const LIMIT = 256; // tasks
const LIMIT_BYTES = 64 << 20; // of their commands: a STORE holds its body

const TOLD = 'told'; // or not to be told any more
const REFUSED = 'refused';
const AWAY = 'away';

const sizeOf = (words) => words.reduce((sum, word) => sum + (word.length ?? 0), 0);

class Later {
  #tasks = new Set();
  #size = 0;
  #timer = null;
  #closed = false;

  /* words: the command; attempt(): tells it, throws Refusal or NoAnswer; until: performance.now() after which it is
   * given up. Returns false when there is no room. */
  add({ until, words, attempt }) {
    const size = sizeOf(words);
    if (this.#closed || this.#tasks.size >= LIMIT || this.#size + size > LIMIT_BYTES) return false;
    this.#tasks.add({ until, attempt, size, due: 0, pauseMs: PAUSE_MS });
    this.#size += size;
    this.#arm();
    return true;
  }

  close() {
    this.#closed = true;
    for (const task of this.#tasks) this.#remove(task);
    clearTimeout(this.#timer);
  }

  #remove(task) {
    if (this.#tasks.delete(task)) this.#size -= task.size;
  }

  #arm() {
    if (this.#timer !== null || this.#tasks.size === 0 || this.#closed) return;
    this.#timer = setTimeout(() => this.#round(), PAUSE_MS);
    this.#timer.unref();
  }

  async #round() {
    for (const task of [...this.#tasks]) {
      const outcome = await this.#outcome(task);
      if (outcome === TOLD) this.#remove(task);
      if (outcome === AWAY || this.#closed) break;
    }
    this.#timer = null;
    this.#arm();
  }

  async #outcome(task) {
    const now = performance.now();
    if (now >= task.until) return TOLD;
    if (now < task.due) return REFUSED;
    try {
      await task.attempt();
      return TOLD;
    } catch (error) {
      if (error instanceof NoAnswer) return AWAY;
      if (error.code === 'STALE') return TOLD;
      task.due = performance.now() + task.pauseMs;
      task.pauseMs = Math.min(2 * task.pauseMs, PAUSE_LIMIT_MS);
      return REFUSED;
    }
  }
}

module.exports = { Later };
