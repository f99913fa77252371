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

/* What is too long to be kept, or has to flow. At its end "not kept" is stored, before the client sees the end. When nobody
 * reads on, because the client has left, the rest is read here: a client that leaves ends nothing. */
async function* flowing({ pieces, rest }, grant, status) {
  const end = () => grant.answered(status, [], null);
  let goesOn = true; // the source, when nobody asks this generator for more
  try {
    yield* pieces;
    for (let next = await rest.next(); !next.done; next = await rest.next()) yield next.value;
    goesOn = false;
    await end();
  } catch (error) {
    goesOn = false;
    await grant.raised(error);
    throw error;
  } finally {
    if (goesOn) drained(rest).then(end, (error) => grant.raised(error));
  }
}

async function drained(iterator) {
  for (let next = await iterator.next(); !next.done;) next = await iterator.next();
}

module.exports = { BODILESS, isEvents, ofWebStream, gather, flowing };
