// express-idempotency with its Redis adapter, as its README says.
'use strict';

const { need, needPeer } = require('../../node/application.js');
const { start } = require('../../node/express_application.js');
const { idempotency, getSharedIdempotencyService } = needPeer('express-idempotency');
const RedisAdapter = needPeer('express-idempotency-redis-adapter').default;

const dataAdapter = new RedisAdapter({ connectionConfig: { url: process.env.IDEM_URL } });
dataAdapter.connect().then(() => {
  const guard = idempotency({ dataAdapter });
  const errors = (error, req, res, next) => {
    getSharedIdempotencyService().reportError(req);
    next(error);
  };
  start(need('express4'), {
    guard, own: () => guard, errors, parsesBefore: true, isHit: (req) => getSharedIdempotencyService().isHit(req),
    say: (res, body) => res.send(String(body)), DidNothing: Error, close: () => dataAdapter.disconnect?.(),
  });
});
