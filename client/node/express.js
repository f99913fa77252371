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
const { HeldResponse, send } = require('./lib/held_response.js');
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

function middleware(guard) {
  const idempotency = (req, res, next) => {
    if (res[RUN]) return next(new Error('idempotency() guards this request already: leave out one of them, or give the outer one `skip`'));
    req.idempotency = null;
    if (!guard.concerns(req.method)) return next();
    guard.begin(asked(req, res)).then(({ answer, grant }) => {
      if (answer) return send(res, answer);
      if (grant) {
        req.idempotency = grant.claim;
        res[RUN] = { grant, settings: guard.settings, held: new HeldResponse(res, grant, guard.settings) };
      }
      next();
    }, next);
  };
  idempotency.with = (settings) => middleware(guard.with(settings));
  idempotency.close = () => guard.close();
  return idempotency;
}

const idempotency = (settings) => middleware(Guard.create(settings));

/* The last app.use(): an exception is seen before Express makes a 500 of it. */
idempotency.errors = (error, req, res, next) => {
  const run = res[RUN];
  if (!run?.held.isHeld) return next(error);
  if (error instanceof DidNothing) return run.held.refuse(didNothing(run.settings, error), error);
  run.grant.failed = true; // a status below 500, of http-errors, is an answer of the application all the same
  run.held.discard();
  return next(error);
};

module.exports = { idempotency, DidNothing };
