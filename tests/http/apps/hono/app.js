// Hono 4 on @hono/node-server.
'use strict';

const { createReadStream } = require('node:fs');
const { Readable } = require('node:stream');
const { need, handle, formOf, sha256, kindOf, settings, ROUTES, serve, outer } = require('../../node/application.js');

const { Hono } = need('hono');
const { HTTPException } = need('hono/http-exception');
const { createAdaptorServer } = need('@hono/node-server');
const { idempotency, DidNothing } = need('idem-node/hono');

const guard = idempotency(settings((c, name) => c.req.header(name)));

// ---- outside of the middleware ----

async function atTheOutside(c, next) {
  c.res.headers.set('X-Outer', outer());
  const origin = c.req.header('origin');
  if (origin) c.res.headers.set('Access-Control-Allow-Origin', origin);
  await next();
}

async function authenticated(c, next) {
  const name = c.req.header('x-user');
  if (name === 'mallory') return c.text('who?', 401);
  if (name) c.set('jwtPayload', { sub: name });
  return next();
}

async function parsedEarly(c, next) {
  const kind = kindOf(c.req.header('content-type'));
  c.set('early', kind === 'json' ? await c.req.json() : undefined);
  if (kind === 'form' || kind === 'multipart') await c.req.parseBody({ all: true });
  return next();
}

// ---- the handler ----

async function seen(c) {
  const url = new URL(c.env.incoming.url, 'http://x');
  const kind = kindOf(c.req.header('content-type'));
  const early = c.get('early');
  const isForm = kind === 'form' || kind === 'multipart';
  const fields = isForm ? Object.entries(await c.req.parseBody({ all: true })) : [];
  const files = fields.filter(([, value]) => value instanceof File);
  return {
    method: c.req.method, path: decodeURIComponent(url.pathname), query: url.search.slice(1), user: c.get('jwtPayload')?.sub ?? null,
    body: isForm || early !== undefined ? null : Buffer.from(await c.req.arrayBuffer()).toString('base64'),
    form: isForm ? formOf(Object.fromEntries(fields.filter(([, value]) => !(value instanceof File)))) : null,
    files: kind === 'multipart' ? Object.fromEntries(await Promise.all(files.map(async ([name, file]) => [name, sha256(Buffer.from(await file.arrayBuffer()))]))) : null,
    json: early ?? null,
  };
}

const BODILESS = [204, 205, 304];
const does = (c) => ({
  claim: c.get('idempotency'), DidNothing,
  httpError: (status) => new HTTPException(status, { message: 'by order' }),
  hints: (hints) => c.env.outgoing.writeEarlyHints(hints),
  answer: (status, headers, body) => new Response(BODILESS.includes(status) ? null : body, { status, headers }),
  file: (path, status, headers) => new Response(Readable.toWeb(createReadStream(path)), { status, headers }),
  stream: (status, headers, source) => new Response(new ReadableStream({
    async pull(controller) {
      const { done, value } = await source.next();
      if (done) controller.close();
      else controller.enqueue(value);
    },
    cancel: () => source.return(),
  }), { status, headers }),
});

const handler = async (c) => handle(await seen(c), does(c));

// ---- the application ----

const inner = new Hono();
inner.use(atTheOutside, authenticated);
inner.use('/early/*', parsedEarly);
for (const [path, own] of Object.entries(ROUTES)) inner.all(`${path}/*`, guard.with(own), handler);
inner.use(guard);
for (const path of ['/work', '/early']) inner.all(`${path}/*`, handler);

const app = new Hono();
app.mount('/mounted', inner.fetch);
app.mount('/', inner.fetch);
serve(createAdaptorServer({ fetch: app.fetch }), guard.close);
