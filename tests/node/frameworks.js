/*
 * frameworks.js - one application in each framework: POST /work runs work(claim), which gives {status, headers, body}, with a
 * body that is a text, or an async iterable of bytes for a stream; or throws.
 *
 * before(req, res): what stands outside of the middleware, with the request and the response of node:http.
 * inside, around: middleware in the framework's own terms, inside of ours and around it.
 */
'use strict';

const http = require('node:http');
const { Readable, pipeline } = require('node:stream');
const { need, listening } = require('./world.js');

const isStream = (body) => typeof body !== 'string';
const streamOf = (body) => Readable.from(body, { objectMode: false });
const never = () => {};

async function served(server, close) {
  const port = await listening(server);
  return {
    port,
    close: () => {
      server.closeAllConnections();
      server.close();
      return close();
    },
  };
}

async function express(settings, work, { before = never, around = [], inside = [], version = 'express' } = {}) {
  const { idempotency } = need('idem-node/express');
  const app = need(version)();
  app.set('env', 'test');
  const guard = idempotency(settings);
  app.use((req, res, next) => {
    before(req, res);
    next();
  });
  for (const middleware of [...around, guard, ...inside]) app.use(middleware);
  app.post('/work', (req, res, next) => {
    const answer = ({ status = 200, headers = {}, body }) => {
      res.status(status).set(headers);
      if (isStream(body)) pipeline(streamOf(body), res, () => {});
      else res.end(body);
    };
    Promise.resolve().then(() => work(req.idempotency)).then(answer).catch(next);
  });
  app.use(idempotency.errors);
  return served(http.createServer(app), () => guard.close());
}

async function fastify(settings, work, { before = never, around = [], inside = [], version = 'fastify' } = {}) {
  const app = need(version)({ forceCloseConnections: true });
  app.addHook('onRequest', async (request, reply) => before(request.raw, reply.raw));
  for (const register of around) await app.register(...register);
  await app.register(need('idem-node/fastify').idempotency, settings);
  for (const register of inside) await app.register(...register);
  app.post('/work', async (request, reply) => {
    const { status = 200, headers = {}, body } = await work(request.idempotency);
    return reply.code(status).headers(headers).send(isStream(body) ? streamOf(body) : body);
  });
  await app.listen({ port: 0, host: '127.0.0.1' });
  return { port: app.server.address().port, close: () => app.close() };
}

async function koa(settings, work, { before = never, around = [], inside = [], version = 'koa' } = {}) {
  const app = new (need(version))();
  app.silent = true;
  const guard = need('idem-node/koa').idempotency(settings);
  app.use((ctx, next) => {
    before(ctx.req, ctx.res);
    return next();
  });
  for (const middleware of [...around, guard, ...inside]) app.use(middleware);
  app.use(async (ctx) => {
    const { status = 200, headers = {}, body } = await work(ctx.state.idempotency);
    ctx.status = status;
    ctx.set(headers);
    ctx.body = isStream(body) ? streamOf(body) : body;
  });
  return served(http.createServer(app.callback()), () => guard.close());
}

async function hono(settings, work, { before = never, around = [], inside = [] } = {}) {
  const app = new (need('hono').Hono)();
  const guard = need('idem-node/hono').idempotency(settings);
  app.use((c, next) => {
    before(c.env.incoming, c.env.outgoing);
    return next();
  });
  for (const middleware of [...around, guard, ...inside]) app.use(middleware);
  app.post('/work', async (c) => {
    const { status = 200, headers = {}, body } = await work(c.get('idempotency'));
    return new Response(isStream(body) ? Readable.toWeb(streamOf(body)) : body, { status, headers });
  });
  app.onError((error, c) => c.text('failed', 500));
  return served(need('@hono/node-server').createAdaptorServer({ fetch: app.fetch }), () => guard.close());
}

module.exports = { express, fastify, koa, hono };
