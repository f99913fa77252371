// Compiled, never run: what a user writes has the types that it should have, and what is wrong does not compile.
import express = require('express');
import fastify from 'fastify';
import { Claim, DidNothing, EventName, Settings, job, InProgress } from 'idem-node';
import { idempotency as forExpress } from 'idem-node/express';
import { idempotency as forFastify } from 'idem-node/fastify';
import { idempotency as forHono } from 'idem-node/hono';
import { idempotency as forKoa } from 'idem-node/koa';
import { Hono } from 'hono';

const settings: Settings = {
  url: 'redis://127.0.0.1:4336', waitMs: 5, born: 'uuid7', keep: (status) => status < 300, scope: (request) => request.user,
  onEvent: (name: EventName, { status, attempt, ms }) => console.log(name, status, attempt, ms.toFixed()),
};

const app = express();
const guard = forExpress(settings);
app.use(guard);
app.post('/a', guard.with({ hold: true }), async (req, res) => {
  const claim: Claim | null | undefined = req.idempotency;
  await claim?.setStage('half');
  claim?.keep(false);
  res.json({ token: claim?.token ?? null });
});
app.use(forExpress.errors);
guard.close();

const server = fastify();
server.register(forFastify, { url: 'redis://127.0.0.1:4336' });
server.post('/a', { config: { idempotency: { required: true } } }, async (request) => request.idempotency?.attempt ?? 0);

new Hono().use(forHono());
forKoa().with({}).close();

const pay = job({ name: 'pay', key: (order: { id: string }) => order.id }, async (order, claim: Claim) => ({ id: order.id, token: claim.token }));
pay({ id: 'a' }).then(({ token }) => token.toFixed(), (error) => error instanceof InProgress && error.retryable);
throw new DidNothing('no', { status: 503 });

// @ts-expect-error: no such setting
forExpress({ waitMS: 5 });
// @ts-expect-error: no text
forExpress({ scope: () => ({ id: 5 }) });
// @ts-expect-error: not a number
forKoa({ ttlMs: '1' });
// @ts-expect-error: which job is it?
job({ name: 'a' }, async () => 1);
// @ts-expect-error: which kind of work is it?
job({ key: () => 'a' }, async () => 1);
// @ts-expect-error: "[object Object]" is no key
job({ name: 'a', key: () => ({}) }, async () => 1);
// @ts-expect-error: the token is not to be changed
(null as unknown as Claim).token = 5;
