/* index.js - what is no framework's: see express.js, fastify.js, koa.js, hono.js for those, and job.js. */
'use strict';

const { DidNothing } = require('./lib/grant.js');
const { job, NotRun, InProgress, KeyReused, OutcomeUnknown, Forgotten, NotKept, Unavailable } = require('./job.js');

module.exports = { DidNothing, job, NotRun, InProgress, KeyReused, OutcomeUnknown, Forgotten, NotKept, Unavailable };
