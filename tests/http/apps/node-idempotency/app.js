// @node-idempotency/core with its Redis adapter, in Express: around the handler as its own wrapper for Nest has it.
'use strict';

const { need, needPeer } = require('../../node/application.js');
const { start } = require('../../node/express_application.js');
const { Idempotency, IdempotencyError } = needPeer('@node-idempotency/core');
const { RedisStorageAdapter } = needPeer('@node-idempotency/storage-adapter-redis');
const { headers2Cache, HTTPHeaderEnum, idempotency2HttpCodeMap } = needPeer('@node-idempotency/shared');

const storage = new RedisStorageAdapter({ url: process.env.IDEM_URL });
const idempotency = new Idempotency(storage, {});
const asked = (req) => ({ headers: req.headers, body: req.body, path: req.originalUrl, method: req.method });

function replay(res, { body, error, additional }) {
  for (const name of Object.values(headers2Cache)) if (additional?.[name]) res.set(name, additional[name]);
  res.set(HTTPHeaderEnum.idempotentReplayed, 'true').status(additional?.statusCode ?? 200).send(body ?? error?.message);
}

/* res.send() is where an application of Express answers; what it is given is stored first. */
function keep(req, res) {
  const { send } = res;
  res.send = (body) => {
    res.send = send;
    const additional = { statusCode: res.statusCode };
    for (const name of Object.values(headers2Cache)) if (res.getHeader(name)) additional[name] = res.getHeader(name);
    idempotency.onResponse(asked(req), { body, additional }).then(() => res.send(body), () => res.send(body));
    return res;
  };
}

async function guard(req, res, next) {
  try {
    const known = await idempotency.onRequest(asked(req));
    if (known) return replay(res, known);
    keep(req, res);
    return next();
  } catch (error) {
    if (!(error instanceof IdempotencyError)) return next(error);
    const status = idempotency2HttpCodeMap[error.code] ?? 500;
    return res.status(status).send(error.message);
  }
}

/* As its wrapper does: an exception is kept like a response. */
function errors(error, req, res, next) {
  const { message, status = 500 } = error;
  idempotency.onResponse(asked(req), { error: { message, status }, additional: { statusCode: status } }).then(() => next(error), next);
}

storage.connect().then(() => start(need('express4'), {
  guard, own: () => guard, errors, parsesBefore: true, say: (res, body) => res.send(String(body)), DidNothing: Error, close: () => storage.disconnect(),
}));
