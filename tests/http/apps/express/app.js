// Express 5, or with the argument express4 that version.
'use strict';

const { need, settings } = require('../../node/application.js');
const { start } = require('../../node/express_application.js');
const { idempotency, DidNothing } = need('idem-node/express');

const guard = idempotency(settings((req, name) => req.get(name)));
start(need(process.argv[2] ?? 'express'), { guard, own: guard.with, errors: idempotency.errors, DidNothing, close: guard.close });
