// Express 5, or with the argument express4 that version.
'use strict';

const http = require('node:http');
const { Readable, pipeline } = require('node:stream');
const { need, handle, formOf, filesOf, kindOf, settings, ROUTES, serve, grouped, outer } = require('../../node/application.js');

const express = need(process.argv[2] ?? 'express');
const createError = need('http-errors');
const multer = need('multer');
const { idempotency, DidNothing } = need('idem-node/express');

const LIMIT = '64mb'; // of a body; the suite sends more than the default of 100 kB
const guard = idempotency(settings((req, name) => req.get(name)));

// ---- outside of the middleware ----

function atTheOutside(req, res, next) {
  res.set('X-Outer', outer());
  if (req.get('Origin')) res.set('Access-Control-Allow-Origin', req.get('Origin'));
  next();
}

function authenticated(req, res, next) {
  const name = req.get('X-User');
  if (name === 'mallory') return res.status(401).send('who?');
  if (name) req.user = { id: name };
  return next();
}

// ---- the handler ----

const takeFiles = multer({ storage: multer.memoryStorage() }).any();
const multipart = (req, res, next) => (req.files ? next() : takeFiles(req, res, next)); // it does not know that it has run
const parsers = [express.urlencoded({ limit: LIMIT, extended: false }), multipart];
const bytes = express.raw({ type: (req) => kindOf(req.headers['content-type']) !== 'form', limit: LIMIT });

function seen(req) {
  const url = new URL(req.originalUrl, 'http://x');
  const kind = kindOf(req.get('Content-Type'));
  const isForm = kind === 'form' || kind === 'multipart';
  const isBytes = Buffer.isBuffer(req.body);
  return {
    method: req.method, path: decodeURIComponent(url.pathname), query: url.search.slice(1), user: req.user?.id ?? null,
    body: isForm || (kind === 'json' && !isBytes && req.early) ? null : Buffer.from(isBytes ? req.body : '').toString('base64'),
    form: isForm ? formOf(req.body) : null,
    files: kind === 'multipart' ? filesOf(req.files) : null,
    json: req.early && kind === 'json' ? req.body ?? null : null,
  };
}

function head(res, status, headers) {
  res.status(status);
  for (const [name, value] of grouped(headers)) res.setHeader(name, value);
}

const does = (req, res, next) => ({
  claim: req.idempotency, DidNothing, httpError: createError,
  hints: (hints) => res.writeEarlyHints(hints),
  answer(status, headers, body, trailers) {
    head(res, status, headers);
    if (trailers.length > 0) {
      res.setHeader('Trailer', trailers.map(([name]) => name).join(', '));
      res.write(body);
      res.addTrailers(trailers);
      res.end();
    } else {
      res.end(body);
    }
  },
  file(path, status, headers) {
    head(res, status, headers);
    res.sendFile(path, (error) => error && next(error));
  },
  stream(status, headers, source) {
    head(res, status, headers);
    res.flushHeaders();
    pipeline(Readable.from(source, { objectMode: false }), res, () => {});
  },
});

const handler = [...parsers, bytes, (req, res, next) => {
  handle(seen(req), does(req, res, next)).catch(next);
}];

// ---- the application ----

const router = express.Router();
router.use(atTheOutside, authenticated);
router.use('/early', (req, res, next) => { req.early = true; next(); }, express.json({ limit: LIMIT }), parsers);
for (const [path, own] of Object.entries(ROUTES)) router.use(path, guard.with(own), handler);
router.use(guard);
router.use(['/work', '/early'], handler);

const app = express();
app.use('/mounted', router);
app.use(router);
app.use(idempotency.errors);
serve(http.createServer(app), guard.close);
