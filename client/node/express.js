/*
 * express.js - middleware for Express 4 and 5, and for whatever else calls (req, res, next).
 *
 *     app.use(idempotency({ url: 'redis://127.0.0.1:4336' }));
 *     ... routes ...
 *     app.use(idempotency.errors);
 *
 * After the authentication, before the body parsers.
 */
'use strict';

const { Guard } = require('./lib/guard.js');
const { DidNothing } = require('./lib/grant.js');
const { HeldResponse, isSent, send } = require('./lib/held_response.js');
const { didNothing } = require('./lib/problem.js');
const { headerValues, pieces, left, idOf } = require('./lib/node_request.js');

const RUN = Symbol('idem.run'); // on a response: {grant, held, settings} while it is guarded

const asked = (req, res) => ({
  native: req,
  method: req.method,
  target: req.originalUrl ?? req.url,
  header: (name) => headerValues(req, name),
  user: () => idOf(req.user, req.auth),
  pieces: (limit) => pieces(req, limit),
  left: () => left(res),
});

/* Whether the handler is to run. */
async function decided(guard, req, res) {
  const { settings, log } = guard;
  const { answer, grant } = await guard.begin(asked(req, res));
  if (!answer && !grant) return true;
  if (isSent(res)) { // a time-out, while the server was asked: nothing runs behind an answer
    if (grant) await grant.dismissed();
    return false;
  }
  if (answer) send(res, answer);
  if (!grant) return false;
  req.idempotency = grant.claim;
  res[RUN] = { grant, settings, log, held: new HeldResponse(res, grant, { settings, log }) };
  return true;
}

/* Express catches what a handler throws; others may not, and here nobody would. */
function goOn(res, next) {
  try {
    next();
  } catch (error) {
    if (!res[RUN]) throw error;
    const { log, held } = res[RUN];
    if (!held.isSettling) log.error(`a handler has thrown: ${error?.message ?? error}`);
    held.fail(error);
  }
}

function middleware(guard) {
  const idempotency = (req, res, next) => {
    if (res[RUN]) return next(new Error('idempotency() guards this request already: leave out one of them, or give the outer one `skip`'));
    req.idempotency = null;
    if (!guard.concerns(req.method)) return next();
    decided(guard, req, res).then((runs) => runs && goOn(res, next), next);
  };
  idempotency.with = (settings) => middleware(guard.with(settings));
  idempotency.close = () => guard.close();
  return idempotency;
}

const idempotency = (settings) => middleware(Guard.create(settings));

/* The last app.use(): an exception is seen before Express makes a 500 of it. */
idempotency.errors = (error, req, res, next) => {
  const run = res[RUN];
  if (run?.held.isSettling) return run.held.fail(error);
  if (!run?.held.isHeld) { // it is not guarded, or it flows
    run?.held.fail(error);
    return next(error);
  }
  if (error instanceof DidNothing) return run.held.refuse(didNothing(run.settings, error), error);
  if (run.held.isSentElsewhere) {
    run.grant.raised(error);
    run.held.release();
    return next(error);
  }
  run.grant.failed = true; // a status below 500, of http-errors, is an answer of the application all the same
  run.held.discard();
  return next(error);
};

module.exports = { idempotency, DidNothing };
