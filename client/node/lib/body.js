/*
 * body.js - the body of a response that a framework hands over whole or as a stream: held back up to a limit, or flowing.
 */
'use strict';

const BODILESS = new Set([204, 205, 304]);
const isEvents = (contentType) => /^\s*text\/event-stream/i.test(String(contentType ?? ''));

const toBytes = (chunk) => (typeof chunk === 'string' ? Buffer.from(chunk) : Buffer.from(chunk.buffer ?? chunk, chunk.byteOffset, chunk.byteLength));

/* Of a WHATWG stream; Node 18 can iterate over its own, but not over every polyfill's. */
async function* ofWebStream(stream) {
  const reader = stream.getReader();
  let ended = false;
  try {
    for (;;) {
      const { done, value } = await reader.read();
      ended = done;
      if (done) return;
      yield value;
    }
  } finally {
    if (!ended) reader.cancel().catch(() => {});
  }
}

/* source: an async iterable of texts and bytes. Returns {body} when it is at most limit bytes long, else {pieces, rest}:
 * what was read, and an iterator over what was not. Throws what the source throws. */
async function gather(source, limit) {
  const iterator = source[Symbol.asyncIterator]();
  const pieces = [];
  for (let size = 0; size <= limit;) {
    const { done, value } = await iterator.next();
    if (done) return { body: Buffer.concat(pieces, size) };
    const bytes = toBytes(value);
    pieces.push(bytes);
    size += bytes.length;
  }
  return { pieces, rest: iterator };
}

/*
 * What is too long to be kept, or has to flow: an iterator over all of it. At its end "not kept" is stored, before the client
 * sees the end. A client that leaves ends nothing: the adapter calls drain() when the response is closed, and what nobody
 * has read is read here, also when nobody has begun to. (A generator that was not begun knows nothing of its end.)
 */
class Flow {
  #pieces;
  #rest;
  #grant;
  #status;
  #turn = Promise.resolve(); // one step after the other, whoever asks for it
  #isOver = false;
  #isDrained = false;

  constructor({ pieces, rest }, grant, status) {
    this.#pieces = pieces;
    this.#rest = rest;
    this.#grant = grant;
    this.#status = status;
  }

  [Symbol.asyncIterator]() {
    return this;
  }

  next() {
    const step = this.#turn.then(() => this.#step());
    this.#turn = step.catch(() => {});
    return step;
  }

  async #step() {
    if (this.#isOver) return { done: true, value: undefined };
    if (this.#pieces.length > 0) return { done: false, value: this.#pieces.shift() };
    try {
      const { done, value } = await this.#rest.next();
      if (!done) return { done, value: toBytes(value) };
    } catch (error) {
      this.#isOver = true;
      await this.#grant.raised(error);
      throw error;
    }
    this.#isOver = true;
    await this.#grant.answered(this.#status, [], null);
    return { done: true, value: undefined };
  }

  /* Whoever reads has enough. */
  async return() {
    this.drain();
    return { done: true, value: undefined };
  }

  drain() {
    if (this.#isDrained) return;
    this.#isDrained = true;
    this.#pieces = [];
    this.#drain().catch(() => {}); // the claim knows
  }

  /* A source without an end, as one of events, is left when its claim is renewed no longer. */
  async #drain() {
    while (this.#grant.hasTime) {
      const { done } = await this.next();
      if (done) return;
    }
    this.#isOver = true;
    await this.#grant.raised();
    await this.#rest.return?.();
  }
}

module.exports = { BODILESS, isEvents, ofWebStream, gather, Flow };
