/*
 * later.js - what could not be told to the server and is tried again in the background, one after the other, until
 * it is told or its time is over. It does not keep a process alive.
 */
'use strict';

const PAUSE_MS = 200; // between two rounds
const LIMIT = 256; // things to be told; a STORE holds its body, so this bounds memory too

class Later {
  #tasks = [];
  #timer = null;
  #closed = false;

  /* attempt() -> true when nothing is left to do. until: Date.now() after which it is given up. False: no room. */
  add(until, attempt) {
    if (this.#closed || this.#tasks.length >= LIMIT) return false;
    this.#tasks.push({ until, attempt });
    this.#arm();
    return true;
  }

  close() {
    this.#closed = true;
    this.#tasks = [];
    clearTimeout(this.#timer);
  }

  #arm() {
    if (this.#timer !== null || this.#tasks.length === 0 || this.#closed) return;
    this.#timer = setTimeout(() => this.#round(), PAUSE_MS);
    this.#timer.unref();
  }

  async #round() {
    const tasks = this.#tasks.splice(0);
    for (const [at, task] of tasks.entries()) {
      if (Date.now() >= task.until) continue;
      if (await task.attempt()) continue;
      this.#tasks.push(...tasks.slice(at)); // the server is away: the others need not try now
      break;
    }
    this.#timer = null;
    this.#arm();
  }
}

module.exports = { Later };
