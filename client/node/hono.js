/*
 * hono.js - middleware for Hono 4, on any runtime that has node:crypto and a Redis client.
 *
 *     app.use(idempotency({ url: 'redis://127.0.0.1:4336' }));
 *
 * After the authentication, CORS and compression, before the routes.
 */
'use strict';

const { BODILESS, isEvents, ofWebStream, gather, Flow } = require('./lib/body.js');
const { bodyPieces, parsedPieces } = require('./lib/fingerprint.js');
const { Guard, TooLarge } = require('./lib/guard.js');
const { DidNothing } = require('./lib/grant.js');
const { storable } = require('./lib/meta.js');
const { didNothing } = require('./lib/problem.js');
const { idOf, whenClosed } = require('./lib/node_request.js');

const IDEMPOTENCY = 'idempotency'; // c.get() of it: the claim

const incoming = (c) => c.env?.incoming; // the request of node:http, under @hono/node-server

/* Headers of the Fetch API join the lines of one name, except where there is the request below. */
function headerValues(c, name) {
  const lines = incoming(c)?.rawHeaders;
  if (!lines) return c.req.raw.headers.has(name) ? [c.req.raw.headers.get(name)] : [];
  return lines.flatMap((word, i) => (i % 2 === 0 && word.toLowerCase() === name ? [lines[i + 1]] : []));
}

async function readAll(stream, limit) {
  const hold = await gather(ofWebStream(stream), limit);
  if (hold.body) return hold.body;
  await hold.rest.return();
  throw new TooLarge();
}

/* What HonoRequest keeps of a body that was read through it. */
async function keptPieces(c, contentType) {
  const cached = c.req.bodyCache;
  if (cached.text || cached.arrayBuffer || cached.blob) return bodyPieces(Buffer.from(await c.req.arrayBuffer()), contentType);
  if (cached.json) return parsedPieces(await cached.json);
  throw new Error('idem: the body was read before idempotency() saw it; move it outside of what reads the body');
}

async function pieces(c, limit) {
  const { raw } = c.req;
  const contentType = raw.headers.get('content-type') ?? '';
  if (raw.bodyUsed) return keptPieces(c, contentType);
  if (Number(raw.headers.get('content-length')) > limit) throw new TooLarge();
  if (raw.body === null) return [Buffer.alloc(0)];
  const body = await readAll(raw.body, limit);
  c.req.raw = new Request(raw, { body }); // given back whole
  return bodyPieces(body, contentType);
}

const asked = (c) => ({
  native: c,
  method: c.req.method,
  target: incoming(c)?.url ?? c.req.raw.url,
  header: (name) => headerValues(c, name),
  user: () => idOf(c.get('user'), c.get('jwtPayload')),
  pieces: (limit) => pieces(c, limit),
  left: () => c.req.raw.signal,
});

/* In place of what the response is now. headers replace those of the same name that middleware outside has set. */
function respond(c, { status, headers, body }, outside) {
  const all = new Headers(outside);
  for (const [name] of headers) all.delete(name);
  for (const [name, value] of headers) all.append(name, value);
  replace(c, status, all, body);
}

/* Hono adds the headers of one response to the next; there is none in between. */
function replace(c, status, headers, body) {
  c.res = undefined;
  c.res = new Response(BODILESS.has(status) ? null : body, { status, headers });
}

function streamOf(iterator) {
  return new ReadableStream({
    async pull(controller) {
      const { done, value } = await iterator.next();
      if (done) controller.close();
      else controller.enqueue(value);
    },
    cancel: () => iterator.return(),
  });
}

/* The response of node:http, under @hono/node-server; elsewhere there is a signal. */
function whenLeft(c, call) {
  const { outgoing } = c.env ?? {};
  if (outgoing) return whenClosed(outgoing, call);
  const { signal } = c.req.raw;
  if (signal.aborted) call();
  else signal.addEventListener('abort', call, { once: true });
  return undefined;
}

async function settle(c, grant, outside, settings) {
  const { status, headers, body } = c.res;
  if (c.error && status >= 500) grant.failed = true;
  const limit = isEvents(headers.get('content-type')) ? -1 : settings.bodyLimit;
  const hold = body === null || BODILESS.has(status) ? { body: Buffer.alloc(0) } : await gather(ofWebStream(body), limit);
  if (!hold.body) {
    const flow = new Flow(hold, grant, status);
    whenLeft(c, () => flow.drain());
    return replace(c, status, headers, streamOf(flow));
  }
  const kept = storable(Object.fromEntries(headers), Object.fromEntries(outside), settings.dropHeaders);
  const other = await grant.answered(status, kept, hold.body);
  if (other) respond(c, other, outside);
  else replace(c, status, headers, body === null ? null : hold.body);
}

async function run(c, next, grant, settings) {
  const outside = new Headers(c.res.headers);
  c.set(IDEMPOTENCY, grant.claim);
  try {
    await next(); // what a handler throws is in c.error afterwards
    if (c.error instanceof DidNothing) {
      await grant.raised(c.error);
      respond(c, didNothing(settings, c.error), outside);
    } else {
      await settle(c, grant, outside, settings);
    }
  } catch (error) {
    await grant.raised(error); // nothing was sent: Hono makes a 500 of it
    throw error;
  }
}

function middleware(guard) {
  const idempotency = async (c, next) => {
    if (c.get(IDEMPOTENCY)) throw new Error('idempotency() guards this request already: leave out one of them, or give the outer one `skip`');
    c.set(IDEMPOTENCY, null);
    if (!guard.concerns(c.req.method)) return next();
    const { answer, grant } = await guard.begin(asked(c));
    if (answer) return respond(c, answer, c.res.headers);
    return grant ? run(c, next, grant, guard.settings) : next();
  };
  idempotency.with = (settings) => middleware(guard.with(settings));
  idempotency.close = () => guard.close();
  return idempotency;
}

const idempotency = (settings) => middleware(Guard.create(settings));

module.exports = { idempotency, DidNothing };
