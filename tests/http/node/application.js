/*
 * application.js - what the test applications of all Node frameworks share: the control port, the settings, start and end.
 *
 * The contract is in ../README.md. An application hands over how its framework answers; what is to be done when, the
 * control port says. Packages lie under build/http/node, where ./install has put them.
 */
'use strict';

const { createHash } = require('node:crypto');
const Module = require('node:module');
const { createRequire } = Module;
const net = require('node:net');
const path = require('node:path');
const readline = require('node:readline');

const PACKAGES = process.env.IDEM_TEST_PACKAGES ?? path.join(__dirname, '../../../build/http/node');
const need = createRequire(path.join(PACKAGES, 'package.json'));
const needPeer = createRequire(path.join(PACKAGES, '../peers/package.json')); // other libraries, beside what they bring
const [CONTROL_HOST, CONTROL_PORT] = process.env.IDEM_TEST_CONTROL.split(':');
const REDIS = process.argv[3] ?? process.env.IDEM_TEST_REDIS; // redis4: that package stands for `redis`, and ioredis is not installed
const IDLE_CHECK_MS = 20; // how often idle connections are closed while the server ends

// ---- the client library ----

function onlyWith(name) {
  const resolve = Module._resolveFilename;
  const own = name.replace(/\d+$/, '');
  const found = need.resolve(name);
  Module._resolveFilename = (request, ...rest) => {
    if (request === own) return found;
    if (/^(io)?redis$/.test(request)) throw Object.assign(new Error(`${request} is not installed`), { code: 'MODULE_NOT_FOUND' });
    return resolve(request, ...rest);
  };
}
if (REDIS) onlyWith(REDIS);

// ---- the control port ----

class Control {
  #socket = net.connect(Number(CONTROL_PORT), CONTROL_HOST);
  #lines = readline.createInterface({ input: this.#socket })[Symbol.asyncIterator]();

  send(value) {
    this.#socket.write(`${JSON.stringify(value)}\n`);
  }

  async next() {
    const { done, value } = await this.#lines.next();
    if (done) throw new Error('the control connection has ended without a last order');
    return JSON.parse(value);
  }

  close() {
    this.#socket.end();
  }
}

function block(ms) {
  const end = Date.now() + ms;
  while (Date.now() < end);
}

const shown = (claim) => (claim ? { token: claim.token, attempt: claim.attempt, stage: claim.stage, lost: claim.lost } : null);

// What an order does that does not end the handler. claim is null when the request is not guarded.
const STEPS = {
  look: () => {},
  stage: (order, { claim }) => claim.setStage(order.text),
  keep: (order, { claim }) => claim.keep(order.value),
  did_nothing: (order, { claim }) => claim.didNothing(),
  block: (order) => block(order.ms),
  hints: (order, { hints }) => hints({ link: '</style.css>; rel=preload' }),
};

async function* pieces(control) {
  for (;;) {
    const order = await control.next();
    if (order.do === 'piece') {
      yield Buffer.from(order.body, 'base64');
      continue;
    }
    control.close();
    if (order.do === 'end') return;
    throw new Error('the generator fails');
  }
}

/* seen: what the handler reports; does: {claim, hints(), answer(), file(), stream(), httpError(status), DidNothing}. */
async function handle(seen, does) {
  const control = new Control();
  const looked = () => ({ claim: shown(does.claim) });
  control.send({ pid: process.pid, body: null, form: null, files: null, json: null, ...seen, ...looked() });
  for (;;) {
    const order = await control.next();
    const step = STEPS[order.do];
    if (step) {
      try {
        await step(order, does);
        control.send(looked());
      } catch (error) {
        control.send({ error: error.message });
      }
      continue;
    }
    if (order.do === 'stream') return does.stream(order.status, order.headers ?? [], pieces(control));
    control.close();
    return last(order, does);
  }
}

function last(order, does) {
  const headers = order.headers ?? [];
  switch (order.do) {
    case 'answer': return does.answer(order.status, headers, Buffer.from(order.body ?? '', 'base64'), order.trailers ?? []);
    case 'file': return does.file(order.path, order.status ?? 200, headers);
    case 'raise_http': throw does.httpError(order.status);
    case 'raise_did_nothing': throw new does.DidNothing('nothing was done', { status: order.status });
    default: throw new Error('raised by order');
  }
}

// ---- what is reported of a body ----

const list = (value) => (Array.isArray(value) ? value : [value]).map(String);
const formOf = (fields) => Object.fromEntries(Object.entries(fields ?? {}).map(([name, value]) => [name, list(value)]));
const sha256 = (bytes) => createHash('sha256').update(bytes).digest('hex');
/* files of multer. */
const filesOf = (files) => Object.fromEntries((files ?? []).map((file) => [file.fieldname, sha256(file.buffer)]));

const kindOf = (contentType = '') => (/^multipart\/form-data/i.test(contentType) ? 'multipart'
  : /^application\/x-www-form-urlencoded/i.test(contentType) ? 'form' : /^application\/json/i.test(contentType) ? 'json' : 'bytes');

// ---- settings ----

const camel = (name) => name.replace(/_(.)/g, (_, letter) => letter.toUpperCase());

function tell(name, fields) {
  const socket = net.connect(Number(CONTROL_PORT), CONTROL_HOST);
  socket.on('error', () => {});
  socket.end(`${JSON.stringify({ event: name, fields })}\n`);
}

/* header(native, name): of a request, as the callbacks get it; undefined when there is none. */
function settings(header) {
  const words = {
    scope: { tenant: (native) => header(native, 'x-tenant') ?? null, none: () => null },
    operation: { fixed: () => ['POST', '/fixed'] },
    skip: { header: (native) => header(native, 'x-skip') !== undefined },
    keep: { '2xx': (status) => status >= 200 && status < 300 },
    born: { callable: (native) => (header(native, 'x-birth') === undefined ? null : Number(header(native, 'x-birth'))) },
    onEvent: { control: tell, raise: () => { throw new Error('raised by onEvent'); } },
  };
  const given = Object.entries(JSON.parse(process.env.IDEM_TEST_SETTINGS || '{}'))
    .map(([name, value]) => [camel(name), words[camel(name)]?.[value] ?? value]);
  return { url: process.env.IDEM_URL, ...Object.fromEntries(given) };
}

const ROUTES = {
  '/required': { required: true },
  '/tight': { bodyLimit: 1000, requestLimit: 2000 },
};

// ---- start and end ----

/* Ends when stdin ends, and on SIGTERM as a server should: what runs is finished, then close(). */
function ends(close) {
  process.stdin.on('end', () => process.exit(0)).resume();
  process.on('SIGTERM', () => close().then(() => process.exit(0)));
}

const port = () => Number(process.env.IDEM_TEST_PORT ?? 0);
const listening = (number) => console.log(`listening on ${number}`);

/* server: of node:http; close(): the middleware's. */
function serve(server, close) {
  server.listen(port(), '127.0.0.1', 1024, () => listening(server.address().port));
  ends(() => new Promise((resolve) => {
    const idle = setInterval(() => server.closeIdleConnections(), IDLE_CHECK_MS);
    server.close(() => {
      clearInterval(idle);
      resolve(close());
    });
  }));
}

/* Pairs as an object whose values are arrays where a name is repeated. */
function grouped(pairs) {
  const all = new Map();
  for (const [name, value] of pairs) all.set(name, [...(all.get(name) ?? []), value]);
  return [...all].map(([name, values]) => [name, values.length > 1 ? values : values[0]]);
}

let answered = 0;
const outer = () => String(answered += 1);

module.exports = { need, needPeer, handle, formOf, filesOf, sha256, kindOf, settings, ROUTES, ends, port, listening, serve, grouped, outer };
