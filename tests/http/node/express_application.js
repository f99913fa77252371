/* express_application.js - the test application over Express, around one middleware or another. */
'use strict';

const http = require('node:http');
const { Readable, pipeline } = require('node:stream');
const { need, handle, formOf, filesOf, kindOf, ROUTES, serve, grouped, outer } = require('./application.js');

const createError = need('http-errors');
const multer = need('multer');

const LIMIT = '64mb'; // of a body; the suite sends more than the default of 100 kB

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

function seen(req) {
  const url = new URL(req.originalUrl, 'http://x');
  const kind = kindOf(req.get('Content-Type'));
  const isForm = kind === 'form' || kind === 'multipart';
  const isBytes = Buffer.isBuffer(req.body);
  return {
    method: req.method, path: decodeURIComponent(url.pathname), query: url.search.slice(1), user: req.user?.id ?? null,
    body: isForm || (kind === 'json' && !isBytes && req.early) ? null : Buffer.from(isBytes || typeof req.body === 'string' ? req.body : '').toString('base64'),
    form: isForm ? formOf(req.body) : null,
    files: kind === 'multipart' ? filesOf(req.files) : null,
    json: req.early && kind === 'json' ? req.body ?? null : null,
  };
}

function head(res, status, headers) {
  res.status(status);
  for (const [name, value] of grouped(headers)) res.setHeader(name, value);
}

const does = (req, res, next, { DidNothing, say = (response, body) => response.end(body) }) => ({
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
      say(res, body);
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

// ---- the application ----

/* middleware: {guard, own(settings of a route), errors, DidNothing, close()}, and of other libraries also parsesBefore: they
 * want the body parsed; isHit(req): they have answered, and the handler has to look; say(res, body): what they listen to. */
function start(express, middleware) {
  const forms = [express.urlencoded({ limit: LIMIT, extended: false }), multipart];
  const json = express.json({ limit: LIMIT, strict: false });
  // Other libraries store what was parsed as JSON, which a text survives.
  const bytes = (middleware.parsesBefore ? express.text : express.raw)({ type: (req) => /^(json|bytes)$/.test(kindOf(req.headers['content-type'])), limit: LIMIT });
  const { guard, own, errors, close, parsesBefore = false, isHit = () => false } = middleware;
  const handler = (req, res, next) => {
    if (!isHit(req)) handle(seen(req), does(req, res, next, middleware)).catch(next);
  };
  const early = (req, res, next) => {
    req.early = true;
    next();
  };
  const [before, after] = parsesBefore ? [[early, json, ...forms, bytes], []] : [[], [...forms, bytes]];
  const router = express.Router();
  router.use(atTheOutside, authenticated);
  router.use('/early', early, json, forms);
  for (const [path, settings] of Object.entries(ROUTES)) router.use(path, ...before, own(settings), ...after, handler);
  router.use(...before, guard);
  router.use(['/work', '/early'], ...after, handler);
  const app = express();
  app.use('/mounted', router);
  app.use(router);
  if (errors) app.use(errors);
  serve(http.createServer(app), close);
}

module.exports = { start };
