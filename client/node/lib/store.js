/*
 * store.js - commands to the server: one shared connection, and one of its own for each CLAIM that waits, since
 * it blocks everything after it. Connections are opened at first use; one that has failed or was silent for too
 * long is dropped, and the next call opens another.
 */
'use strict';

const { given, duplicate, opener } = require('./connection.js');
const { Later } = require('./later.js');
const { Refusal, NoAnswer } = require('./errors.js');

const ATTEMPTS = 2; // every command may be sent again: a CLAIM has an OWNER of its own, the others a token

const REFUSAL = /^[A-Z]{2,}(?: |$)/; // both client libraries hand over the server's text; their own errors begin otherwise

function within(ms, promise) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`no answer within ${ms} ms`)), ms);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

class Store {
  // What could not be told to this server. Responses have a room of their own: while the server is away, any number of
  // claims may be refused, and what ran must not find it full of them.
  later = new Later(); // STORE
  givingBack = new Later(); // claims whose answer nobody has seen
  #settings;
  #open; // (timeoutMs) -> a new connection
  #lent; // the application's own connection, or null
  #shared = null; // the promise of the connection that all share
  #waiting = new Set(); // connections of those that wait
  #waiters = 0;
  #closed = false;

  constructor(settings) {
    const { url, client } = settings;
    this.#settings = settings;
    this.#open = client ? (timeoutMs) => duplicate(client, timeoutMs) : opener(url);
    this.#lent = client ? given(client) : null;
    if (this.#lent) this.#shared = Promise.resolve(this.#lent);
  }

  /* Throws Refusal or NoAnswer, after at most ATTEMPTS times timeoutMs. */
  async call(words) {
    for (let attempt = 1, sent = false; ; attempt += 1) {
      try {
        return await this.#once(words);
      } catch (error) {
        if (error instanceof Refusal) throw error;
        sent ||= error.sent;
        if (attempt === ATTEMPTS || this.#closed) throw new NoAnswer(error.message, sent);
      }
    }
  }

  async #once(words) {
    if (this.#closed) throw new NoAnswer('closed', false);
    const { timeoutMs } = this.#settings;
    const shared = (this.#shared ??= this.#open(timeoutMs));
    let sent = false;
    let isOver = false;
    const ask = (connection) => {
      if (isOver) throw new Error('too late'); // who asked was told that nothing was sent: it would be a claim of nobody
      sent = true;
      return connection.call(words);
    };
    try {
      return await within(timeoutMs, shared.then(ask));
    } catch (error) {
      isOver = true;
      if (sent && REFUSAL.test(error.message)) throw new Refusal(error.message);
      this.#drop(shared);
      throw new NoAnswer(error.message, sent);
    }
  }

  #drop(shared) {
    if (this.#lent || this.#shared !== shared) return;
    this.#shared = null;
    shared.then((connection) => connection.close(), () => {});
  }

  /* False when maxWaiting callers wait already: nothing was asked. */
  canWait() {
    return this.#waiters < this.#settings.maxWaiting;
  }

  /* words: a CLAIM without WAIT. left: an AbortSignal, aborted when the client has left: then the connection is
   * closed, which takes the caller out of the queue. Throws as call() does. */
  async wait(words, waitMs, left) {
    const end = performance.now() + waitMs;
    this.#waiters += 1;
    try {
      for (let attempt = 1, sent = false; ; attempt += 1) {
        try {
          return await this.#waitOnce(words, Math.max(1, Math.ceil(end - performance.now())), left);
        } catch (error) {
          if (error instanceof Refusal) throw error;
          sent ||= error.sent;
          if (attempt === ATTEMPTS || left.aborted || this.#closed) throw new NoAnswer(error.message, sent);
        }
      }
    } finally {
      this.#waiters -= 1;
    }
  }

  async #waitOnce(words, waitMs, left) {
    if (left.aborted) throw new NoAnswer('the caller has left', false);
    const { timeoutMs } = this.#settings;
    let connection = null;
    let sent = false;
    const close = () => connection.close();
    try {
      connection = await this.#opened(timeoutMs);
      if (left.aborted || this.#closed) throw new Error('the caller has left');
      this.#waiting.add(connection);
      left.addEventListener('abort', close, { once: true });
      sent = true;
      return await within(waitMs + timeoutMs, connection.call([...words, 'WAIT', waitMs]));
    } catch (error) {
      if (sent && REFUSAL.test(error.message)) throw new Refusal(error.message);
      throw new NoAnswer(error.message, sent);
    } finally {
      left.removeEventListener('abort', close);
      this.#waiting.delete(connection);
      connection?.close(); // a second time when the caller has left while it waited
    }
  }

  async #opened(timeoutMs) {
    const opening = this.#open(timeoutMs);
    try {
      return await within(timeoutMs, opening);
    } catch (error) {
      opening.then((late) => late.close(), () => {});
      throw error;
    }
  }

  /* Of the connections that were opened here. Nothing is released: a lease ends by itself. */
  close() {
    this.#closed = true;
    this.later.close();
    this.givingBack.close();
    for (const connection of this.#waiting) connection.close();
    if (this.#shared) this.#drop(this.#shared);
  }
}

module.exports = { Store };
