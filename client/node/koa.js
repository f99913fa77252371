/*
 * koa.js - middleware for Koa 2 and 3.
 *
 *     app.use(idempotency({ url: 'redis://127.0.0.1:4336' }));
 *
 * After the authentication and compression, before the body parsers and routes. A body that middleware inside has set
 * is stored, and then handed on, so that middleware outside (compression) does with it what it always does.
 */
'use strict';

const { Readable } = require('node:stream');
const { BODILESS, isEvents, ofWebStream, gather, Flow } = require('./lib/body.js');
const { Guard } = require('./lib/guard.js');
const { DidNothing } = require('./lib/grant.js');
const { HeldResponse, isSent } = require('./lib/held_response.js');
const { storable } = require('./lib/meta.js');
const { didNothing } = require('./lib/problem.js');
const { headerValues, pieces, left, whenClosed, idOf } = require('./lib/node_request.js');

const asked = (ctx) => ({
  native: ctx,
  method: ctx.method,
  target: ctx.originalUrl,
  header: (name) => headerValues(ctx.req, name),
  user: () => idOf(ctx.state.user ?? ctx.req.user, ctx.state.auth),
  pieces: (limit) => pieces(ctx.req, limit, { holder: readByKoa(ctx) }),
  left: () => left(ctx.res),
});

/* Where the body is when a parser of Koa has read it. */
const readByKoa = ({ req, request }) => ({ rawBody: req.rawBody ?? request.rawBody, body: request.body, files: request.files });

function answerWith(ctx, { status, headers, body }) {
  ctx.status = status;
  ctx.body = BODILESS.has(status) ? null : body; // before the headers: it sets some
  ctx.remove('Content-Type');
  for (const [name, value] of grouped(headers)) ctx.set(name, value);
}

function grouped(headers) {
  const all = new Map();
  for (const [name, value] of headers) all.set(name, [...(all.get(name) ?? []), value]);
  return [...all].map(([name, values]) => [name, values.length > 1 ? values : values[0]]);
}

/* The body as Koa would send it. */
function sourceOf(ctx) {
  const { body } = ctx;
  if (BODILESS.has(ctx.status)) return [];
  if (body === null || body === undefined) {
    if (ctx.response._explicitNullBody) return [];
    const text = ctx.req.httpVersionMajor >= 2 ? String(ctx.status) : ctx.message || String(ctx.status);
    ctx.type = 'text';
    return [text];
  }
  if (Buffer.isBuffer(body) || typeof body === 'string') return [body];
  if (typeof body.pipe === 'function') return body;
  if (typeof body.getReader === 'function') return ofWebStream(body);
  if (typeof body.stream === 'function') return ofWebStream(body.stream());
  if (typeof body.arrayBuffer === 'function') return body.body ? ofWebStream(body.body) : [];
  return [JSON.stringify(body)];
}

async function* iterated(source) {
  yield* source;
}

/* Koa 3 does it. With Koa 2 a client would wait for ever for the rest of a stream that has failed. */
function cutAtError({ body, res }) {
  if (typeof body?.pipe === 'function') body.once('error', (error) => res.destroy(error));
}

async function settle(ctx, { grant, held, before, settings }) {
  const { status } = ctx;
  const source = sourceOf(ctx);
  const limit = isEvents(ctx.response.get('Content-Type')) ? -1 : settings.bodyLimit;
  const hold = await gather(iterated(source), limit);
  if (!hold.body) {
    const flow = new Flow(hold, grant, status);
    whenClosed(ctx.res, () => flow.drain());
    ctx.status = status;
    ctx.body = Readable.from(flow, { objectMode: false });
    cutAtError(ctx);
    return;
  }
  const headers = storable(ctx.res.getHeaders(), before, settings.dropHeaders);
  const other = await grant.answered(status, headers, held.isSentElsewhere ? null : hold.body);
  if (other) {
    held.discard();
    answerWith(ctx, other);
  } else if (!BODILESS.has(status)) {
    ctx.status = status;
    const type = ctx.response.get('Content-Type');
    ctx.body = hold.body;
    if (!type) ctx.remove('Content-Type');
  }
}

async function failed(ctx, error, { grant, held, settings }) {
  if (!held.isHeld) { // with ctx.respond = false: it flows, or is an answer already
    held.fail(error);
    throw error;
  }
  if (error instanceof DidNothing) {
    await grant.raised(error);
    held.discard();
    held.release();
    return answerWith(ctx, didNothing(settings, error));
  }
  const status = error?.status ?? error?.statusCode;
  // ctx.throw(402) is an answer. What it looks like is decided outside of here, so it is taken where it is sent.
  if (!(status >= 400 && status < 500)) {
    await grant.raised(error);
    held.release();
  }
  throw error;
}

async function run(ctx, next, grant, { settings, log }) {
  const before = { ...ctx.res.getHeaders() };
  const held = new HeldResponse(ctx.res, grant, { settings, log });
  ctx.state.idempotency = grant.claim;
  // Koa calls it when a connection breaks off, and would answer in place of the handler, which goes on.
  ctx.onerror = () => {};
  try {
    await next();
    // With ctx.respond = false the handler writes to ctx.res by itself: the held response does the rest.
    if (!held.isSentElsewhere && (ctx.respond === false || ctx.res.headersSent)) return cutAtError(ctx);
    await settle(ctx, { grant, held, before, settings });
    held.release();
    delete ctx.onerror;
  } catch (error) {
    delete ctx.onerror;
    await failed(ctx, error, { grant, held, settings });
  }
}

function middleware(guard) {
  const idempotency = async (ctx, next) => {
    if (ctx.state.idempotency) throw new Error('idempotency() guards this request already: leave out one of them, or give the outer one `skip`');
    ctx.state.idempotency = null;
    if (!guard.concerns(ctx.method)) return next();
    const { answer, grant } = await guard.begin(asked(ctx));
    if (!answer && !grant) return next();
    if (isSent(ctx.res)) return grant && grant.dismissed(); // a time-out, while the server was asked: nothing runs behind an answer
    return answer ? answerWith(ctx, answer) : run(ctx, next, grant, guard);
  };
  idempotency.with = (settings) => middleware(guard.with(settings));
  idempotency.close = () => guard.close();
  return idempotency;
}

const idempotency = (settings) => middleware(Guard.create(settings));

module.exports = { idempotency, DidNothing };
