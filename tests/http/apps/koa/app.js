// Koa 3, or with the argument koa2 that version.
'use strict';

const http = require('node:http');
const { createReadStream } = require('node:fs');
const { Readable } = require('node:stream');
const { need, handle, formOf, filesOf, kindOf, settings, ROUTES, serve, grouped, outer } = require('../../node/application.js');

const Koa = need(process.argv[2] ?? 'koa');
const bodyParser = need('koa-bodyparser');
const createError = need('http-errors');
const mount = need('koa-mount');
const multer = need('@koa/multer');
const { idempotency, DidNothing } = need('idem-node/koa');

const LIMIT = '64mb'; // of a body; the suite sends more than the default of 1 MB
const guard = idempotency(settings((ctx, name) => ctx.get(name) || undefined));

// ---- outside of the middleware ----

async function atTheOutside(ctx, next) {
  ctx.set('X-Outer', outer());
  if (ctx.get('Origin')) ctx.set('Access-Control-Allow-Origin', ctx.get('Origin'));
  await next();
}

async function authenticated(ctx, next) {
  const name = ctx.get('X-User');
  if (name === 'mallory') ctx.throw(401);
  if (name) ctx.state.user = { id: name };
  await next();
}

// ---- the handler ----

const parseForms = bodyParser({ enableTypes: ['form'], formLimit: LIMIT });
const parseEarly = bodyParser({ enableTypes: ['json', 'form'], jsonLimit: LIMIT, formLimit: LIMIT, strict: false });
const parseMultipart = multer().any();

async function bytesOf(stream) {
  const chunks = [];
  for await (const chunk of stream) chunks.push(chunk);
  return Buffer.concat(chunks);
}

async function parsed(ctx, next) {
  const kind = kindOf(ctx.get('Content-Type'));
  if (ctx.early && kind !== 'bytes') return next();
  if (kind === 'multipart') return parseMultipart(ctx, next);
  if (kind === 'form') return parseForms(ctx, next);
  ctx.bytes = await bytesOf(ctx.req);
  return next();
}

function seen(ctx) {
  const url = new URL(ctx.originalUrl, 'http://x');
  const kind = kindOf(ctx.get('Content-Type'));
  const isForm = kind === 'form' || kind === 'multipart';
  return {
    method: ctx.method, path: decodeURIComponent(url.pathname), query: url.search.slice(1), user: ctx.state.user?.id ?? null,
    body: ctx.bytes ? ctx.bytes.toString('base64') : null,
    form: isForm ? formOf(ctx.request.body) : null,
    files: kind === 'multipart' ? filesOf(ctx.request.files ?? ctx.files) : null,
    json: ctx.early && kind === 'json' ? ctx.request.body ?? null : null,
  };
}

function head(ctx, status, headers) {
  ctx.status = status;
  for (const [name, value] of grouped(headers)) ctx.set(name, value);
}

/* Koa gives a body a type when it is set; the order may have none. */
function body(ctx, headers, value) {
  ctx.body = value;
  if (!headers.some(([name]) => name.toLowerCase() === 'content-type')) ctx.remove('Content-Type');
}

const does = (ctx) => ({
  claim: ctx.state.idempotency, DidNothing, httpError: createError,
  hints: (hints) => ctx.res.writeEarlyHints(hints),
  answer(status, headers, bytes, trailers) {
    head(ctx, status, headers);
    if (trailers.length === 0) return body(ctx, headers, bytes);
    ctx.respond = false;
    ctx.res.statusCode = status;
    ctx.res.setHeader('Trailer', trailers.map(([name]) => name).join(', '));
    ctx.res.write(bytes);
    ctx.res.addTrailers(trailers);
    return ctx.res.end();
  },
  file(path, status, headers) {
    head(ctx, status, headers);
    body(ctx, headers, createReadStream(path));
  },
  stream(status, headers, source) {
    head(ctx, status, headers);
    ctx.flushHeaders();
    body(ctx, headers, Readable.from(source, { objectMode: false }));
  },
});

async function handler(ctx, next) {
  if (!/^\/(work|early|required|tight)(\/|$)/.test(ctx.path)) return next();
  return parsed(ctx, () => handle(seen(ctx), does(ctx)));
}

// ---- the application ----

/* A middleware for the paths below one. */
const below = (path, middleware) => (ctx, next) => (ctx.path === path || ctx.path.startsWith(`${path}/`) ? middleware(ctx, next) : next());
const early = (middleware) => below('/early', async (ctx, next) => {
  ctx.early = true;
  return middleware(ctx, next);
});

const inner = new Koa();
inner.use(atTheOutside).use(authenticated);
inner.use(early(parseEarly));
inner.use(early((ctx, next) => (kindOf(ctx.get('Content-Type')) === 'multipart' ? parseMultipart(ctx, next) : next())));
const routes = Object.entries(ROUTES).map(([path, own]) => [path, guard.with(own)]);
inner.use((ctx, next) => {
  const own = routes.find(([path]) => ctx.path === path || ctx.path.startsWith(`${path}/`));
  return (own ? own[1] : guard)(ctx, next);
});
inner.use(handler);

const app = new Koa();
app.silent = true;
app.use(mount('/mounted', inner)).use(mount(inner));
serve(http.createServer(app.callback()), guard.close);
