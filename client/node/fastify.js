/*
 * fastify.js - a plugin for Fastify 4 and 5.
 *
 *     await app.register(idempotency, { url: 'redis://127.0.0.1:4336' });
 *
 * Before the routes that it guards, and after plugins that authenticate in onRequest. A route has settings of its own in
 * `config: { idempotency: {...} }`.
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

const RUN = Symbol('idem.run'); // on a request: {grant, held, before, settings} while it is guarded
const UNTYPED = Symbol('idem.untyped'); // on a request: what is replayed has no Content-Type, and Fastify is not to give it one

/* payload: the stream that will be parsed; a hook before may have put another one in place of the request's. */
const asked = (request, reply, payload) => ({
  native: request,
  method: request.method,
  target: request.raw.url,
  header: (name) => headerValues(request.raw, name),
  user: () => idOf(request.user, request.auth),
  pieces: (limit) => pieces(request.raw, limit, { holder: request, stream: payload }),
  left: () => left(reply.raw),
});

const namesOf = (reply) => Object.keys(reply.getHeaders());

function answerWith(reply, { status, headers }) {
  reply.code(status);
  const all = new Map();
  for (const [name, value] of headers) all.set(name, [...(all.get(name) ?? []), value]);
  for (const [name, values] of all) reply.header(name, values.length > 1 ? values : values[0]);
}

/* In place of what the handler has said. */
function replace(reply, answer, before) {
  for (const name of namesOf(reply)) reply.removeHeader(name);
  for (const [name, value] of Object.entries(before)) reply.header(name, value);
  answerWith(reply, answer);
  return BODILESS.has(answer.status) ? null : answer.body;
}

/* A Response of the Fetch API says all in one. */
function unpacked(reply, payload) {
  if (Object.prototype.toString.call(payload) !== '[object Response]') return payload;
  reply.code(payload.status);
  for (const [name, value] of payload.headers) reply.header(name, value);
  return payload.body;
}

async function* sourceOf(payload) {
  if (payload === null || payload === undefined) return;
  if (typeof payload.getReader === 'function') yield* ofWebStream(payload);
  else if (typeof payload.pipe === 'function') yield* payload;
  else yield payload;
}

function flowing(reply, flow) {
  whenClosed(reply.raw, () => flow.drain());
  return Readable.from(flow, { objectMode: false });
}

/* The payload that is sent: that of the handler, once it is stored. */
async function settle(reply, payload, { grant, held, before, settings }) {
  const source = unpacked(reply, payload);
  const status = reply.statusCode;
  const limit = isEvents(reply.getHeader('content-type')) ? -1 : settings.bodyLimit;
  const hold = BODILESS.has(status) ? { body: Buffer.alloc(0) } : await gather(sourceOf(source), limit);
  if (!hold.body) return flowing(reply, new Flow(hold, grant, status));
  const other = await grant.answered(status, storable(reply.getHeaders(), before, settings.dropHeaders), held.isSentElsewhere ? null : hold.body);
  if (other) return replace(reply, other, before);
  reply.removeHeader('content-length'); // made anew, of what was held
  return source === null || source === undefined || BODILESS.has(status) ? null : hold.body;
}

/* Whether the handler is to run. */
async function decided(guard, request, reply, payload) {
  const { settings, log } = guard;
  const { answer, grant } = await guard.begin(asked(request, reply, payload));
  if (!answer && !grant) return true;
  if (reply.sent || isSent(reply.raw)) { // a time-out, while the server was asked: nothing runs behind an answer
    if (grant) await grant.dismissed();
    return false;
  }
  if (answer) {
    answerWith(reply, answer);
    request[UNTYPED] = !answer.headers.some(([name]) => name === 'content-type');
    reply.send(BODILESS.has(answer.status) ? undefined : answer.body); // null would be JSON
    return false;
  }
  request.idempotency = grant.claim;
  request[RUN] = { grant, settings, before: { ...reply.getHeaders() }, held: new HeldResponse(reply.raw, grant, { settings, log }) };
  return true;
}

/* Hooks of one plugin. Those with a callback end the request by not calling it. */
function hooksOf(guardOf) {
  return {
    preParsing(request, reply, payload, done) {
      const mine = guardOf(request);
      if (!mine.concerns(request.method)) return done(null, payload);
      decided(mine, request, reply, payload).then((runs) => runs && done(null, payload), done);
    },

    onError(request, reply, error, done) {
      const run = request[RUN];
      if (run) {
        run.error = error;
        run.grant.failed = true; // a status below 500 is an answer of the application all the same
      }
      done();
    },

    /* A handler that has hijacked the reply never comes here: the held response does the rest. */
    async onSend(request, reply, payload) {
      if (request[UNTYPED]) reply.removeHeader('content-type');
      const run = request[RUN];
      if (!run) return payload;
      request[RUN] = null;
      try {
        if (run.error instanceof DidNothing) {
          await run.grant.raised(run.error);
          return replace(reply, didNothing(run.settings, run.error), run.before);
        }
        return await settle(reply, payload, run);
      } catch (error) {
        await run.grant.raised(error);
        throw error;
      } finally {
        run.held.release();
      }
    },
  };
}

async function idempotency(app, given) {
  const guard = Guard.create(given, app.log);
  const ofRoutes = new Map(); // settings of a route -> its guard
  app.decorateRequest('idempotency', null);
  app.decorateRequest(RUN, null);
  app.decorateRequest(UNTYPED, false);
  app.addHook('onRoute', ({ config }) => {
    if (config?.idempotency) ofRoutes.set(config.idempotency, guard.with(config.idempotency)); // throws at start
  });
  const guardOf = (request) => ofRoutes.get((request.routeOptions ?? request.context)?.config?.idempotency) ?? guard;
  for (const [name, hook] of Object.entries(hooksOf(guardOf))) app.addHook(name, hook);
  app.addHook('onClose', async () => guard.close());
}

// As fastify-plugin does: the hooks are for the application, not for this plugin alone.
idempotency[Symbol.for('skip-override')] = true;
idempotency[Symbol.for('fastify.display-name')] = 'idem-node';

module.exports = { idempotency, DidNothing };
