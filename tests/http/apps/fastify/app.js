// Fastify 5, or with the argument fastify4 that version.
'use strict';

const { createReadStream } = require('node:fs');
const { Readable } = require('node:stream');
const { need, handle, formOf, sha256, kindOf, settings, ROUTES, ends, port, listening, grouped, outer } = require('../../node/application.js');

const VERSIONS = { fastify: ['@fastify/formbody', '@fastify/multipart'], fastify4: ['formbody7', 'multipart8'] };
const version = process.argv[2] ?? 'fastify';
const Fastify = need(version);
const [formbody, multipart] = VERSIONS[version].map(need);
const { idempotency, DidNothing } = need('idem-node/fastify');

const BODILESS = new Set([204, 205, 304]);
const LIMIT = 64 << 20; // of a body; the suite sends more than the default of 1 MiB

const app = Fastify({
  bodyLimit: LIMIT, forceCloseConnections: 'idle',
  logger: { level: 'warn', stream: process.stderr },
});

// ---- outside of the middleware ----

app.decorateRequest('user', null);
app.decorateRequest('rawBody', undefined);
app.decorateRequest('early', undefined);
app.addHook('onRequest', async (request, reply) => {
  reply.header('X-Outer', outer());
  if (request.headers.origin) reply.header('Access-Control-Allow-Origin', request.headers.origin);
  const name = request.headers['x-user'];
  if (name === 'mallory') return reply.code(401).send('who?');
  if (name) request.user = { id: name };
});

async function bytesOf(stream) {
  const chunks = [];
  for await (const chunk of stream) chunks.push(chunk);
  return Buffer.concat(chunks);
}

/* As the plugins for raw bodies do: the bytes are read, kept, and handed on. */
app.addHook('preParsing', async (request, reply, payload) => {
  if (!request.url.startsWith('/early/') || !/^(POST|PUT|PATCH|DELETE)$/.test(request.method)) return payload;
  request.rawBody = await bytesOf(payload);
  if (kindOf(request.headers['content-type']) === 'json') request.early = JSON.parse(request.rawBody);
  const again = Readable.from([request.rawBody], { objectMode: false });
  again.receivedEncodedLength = request.rawBody.length;
  return again;
});

// ---- the handler ----

function seen(request) {
  const url = new URL(request.raw.url, 'http://x');
  const kind = kindOf(request.headers['content-type']);
  const isForm = kind === 'form' || kind === 'multipart';
  const isEarlyJson = request.early !== undefined;
  return {
    method: request.method, path: decodeURIComponent(url.pathname), query: url.search.slice(1), user: request.user?.id ?? null,
    body: isForm || isEarlyJson ? null : Buffer.from(request.body ?? '').toString('base64'),
    form: isForm ? formOf(kind === 'form' ? request.body : request.fields) : null,
    files: kind === 'multipart' ? request.sums : null,
    json: isEarlyJson ? request.early : null,
  };
}

app.decorateRequest('fields', null);
app.decorateRequest('sums', null);

async function takeParts(request) {
  request.fields = {};
  request.sums = {};
  for await (const part of request.parts()) {
    if (part.type === 'file') request.sums[part.fieldname] = sha256(await part.toBuffer());
    else request.fields[part.fieldname] = [...(request.fields[part.fieldname] ?? []), part.value];
  }
}

function head(reply, status, headers) {
  reply.code(status);
  for (const [name, value] of grouped(headers)) reply.header(name, value);
}

const does = (request, reply) => ({
  claim: request.idempotency, DidNothing,
  httpError: (statusCode) => Object.assign(new Error('by order'), { statusCode }),
  hints(hints) {
    (reply.writeEarlyHints ? reply : reply.raw).writeEarlyHints(hints); // Fastify 4 has none; not returned: to await a reply is to await its end
  },
  answer(status, headers, body, trailers) {
    head(reply, status, headers);
    for (const [name, value] of trailers) reply.trailer(name, async () => value);
    return reply.send(BODILESS.has(status) ? undefined : body);
  },
  file(path, status, headers) {
    head(reply, status, headers);
    return reply.send(createReadStream(path));
  },
  stream(status, headers, source) {
    head(reply, status, headers);
    return reply.send(Readable.from(source, { objectMode: false }));
  },
});

async function handler(request, reply) {
  if (kindOf(request.headers['content-type']) === 'multipart') await takeParts(request);
  await handle(seen(request), does(request, reply));
  return reply;
}

// ---- the application ----

async function routes() {
  await app.register(idempotency, settings((request, name) => request.headers[name]));
  app.removeAllContentTypeParsers();
  await app.register(formbody, { bodyLimit: LIMIT });
  await app.register(multipart, { limits: { fileSize: LIMIT, fieldSize: LIMIT } });
  app.addContentTypeParser('*', { parseAs: 'buffer' }, (request, body, done) => done(null, body));
  const own = { '/work': undefined, '/early': undefined, ...ROUTES };
  for (const [path, idem] of Object.entries(own)) {
    const config = idem ? { idempotency: idem } : {};
    for (const url of [path, `${path}/*`]) app.all(url, { config }, handler);
  }
}

routes().then(() => app.listen({ port: port(), host: '127.0.0.1', backlog: 1024 })).then(() => {
  listening(app.server.address().port);
  ends(() => app.close());
}, (error) => {
  console.error(error);
  process.exit(1);
});
