// Many at once, what stands around, and a server that fails at every moment. In every framework where that makes a difference.
'use strict';

const assert = require('node:assert/strict');
const { AsyncLocalStorage } = require('node:async_hooks');
const http = require('node:http');
const Module = require('node:module');
const net = require('node:net');
const test = require('node:test');
const zlib = require('node:zlib');
const FRAMEWORKS = require('./frameworks.js');
const suite = require('./suite.js');
const { need, until, post } = require('./world.js');

const { server, world, application } = suite(test);
const options = { timeout: 60_000 }; // the slowest of them takes 5 s

function everywhere(name, body, only = Object.keys(FRAMEWORKS)) {
  for (const framework of only) {
    test(`${framework}: ${name}`, options, (t) => body(t, async (settings, work, more) => {
      const { port, close } = await FRAMEWORKS[framework](settings, work, more);
      t.after(close);
      return port;
    }, framework));
  }
}

// ---- many at once ----

everywhere('1,000 duplicates at once are one execution', async (t, start) => {
  const { settings } = world({ waitMs: 15_000, timeoutMs: 10_000 }); // 1,000 requests may keep this one process busy
  let ran = 0;
  let go;
  const gone = new Promise((resolve) => { go = resolve; });
  const port = await start(settings, async () => {
    ran += 1;
    await gone;
    return { status: 201, body: 'ran' };
  });
  const agent = new http.Agent();
  t.after(() => agent.destroy());
  let refused = 0;
  const answers = Array.from({ length: 1000 }, () => posted(agent, port).then((answer) => {
    refused += answer.status === 409;
    return answer;
  }));
  await until(() => refused === 1000 - 1 - 256, 'all but those that wait and the first refused');
  go();
  const all = await Promise.all(answers);
  assert.equal(ran, 1);
  const ok = all.filter(({ status }) => status === 201);
  assert.equal(ok.length, 257);
  assert.equal(ok.filter(({ headers }) => headers['idempotent-replayed'] === 'true').length, 256);
  assert.ok(ok.every(({ body }) => String(body) === 'ran'));
});

/* A POST by node:http, whose body nobody decodes. */
function posted(agent, port, headers = {}, key = 'k') {
  return new Promise((resolve, reject) => {
    const request = http.request({ agent, port, host: '127.0.0.1', method: 'POST', path: '/work', headers: { 'Idempotency-Key': key, 'Content-Type': 'application/json', ...headers } });
    request.on('error', reject).on('response', async (response) => {
      const body = Buffer.concat(await response.toArray());
      resolve({ status: response.statusCode, headers: response.headers, body });
    });
    request.end('{}');
  });
}

// ---- what stands around ----

everywhere('what AsyncLocalStorage holds is kept, for each request its own', async (t, start) => {
  const storage = new AsyncLocalStorage();
  const before = (req) => storage.enterWith(req.headers['x-number']);
  const port = await start(world({ waitMs: 5_000 }).settings, async () => ({ body: String(storage.getStore()) }), { before });
  const numbers = Array.from({ length: 20 }, (_, i) => String(i));
  const told = await Promise.all(numbers.map((i) => post(port, '/work', `k${i}`, { headers: { 'X-Number': i } })));
  assert.deepEqual(told.map(({ text }) => text), numbers);
});

const TEXT = 'compress me '.repeat(1000);
const COMPRESSION = {
  express: () => need('compression')({ threshold: 0 }),
  koa: () => need('koa-compress')({ threshold: 0 }),
  hono: () => need('hono/compress').compress(),
  fastify: () => [need('@fastify/compress'), { global: true, threshold: 0 }],
};
const decoded = ({ headers, body }) => String(headers['content-encoding'] === 'gzip' ? zlib.gunzipSync(body) : body);

everywhere('with compression outside each one gets its own encoding', async (t, start, framework) => {
  const port = await start(world().settings, () => ({ headers: { 'Content-Type': 'text/plain' }, body: TEXT }), { around: [COMPRESSION[framework]()] });
  const encodings = [];
  for (const wanted of ['gzip', 'identity', 'gzip']) {
    const answer = await posted(undefined, port, { 'Accept-Encoding': wanted });
    assert.equal(decoded(answer), TEXT);
    encodings.push([answer.headers['content-encoding'], answer.headers['idempotent-replayed']]);
  }
  assert.deepEqual(encodings, [['gzip', undefined], [undefined, 'true'], ['gzip', 'true']]);
});

everywhere('with compression inside all get that of the first', async (t, start, framework) => {
  const port = await start(world().settings, () => ({ headers: { 'Content-Type': 'text/plain' }, body: TEXT }), { inside: [COMPRESSION[framework]()] });
  const answers = [];
  for (const wanted of ['gzip', 'identity']) answers.push(await posted(undefined, port, { 'Accept-Encoding': wanted }));
  assert.deepEqual(answers.map((answer) => answer.headers['content-encoding']), ['gzip', 'gzip']);
  assert.deepEqual(answers.map(decoded), [TEXT, TEXT]);
}, ['express', 'koa', 'hono']); // that of Fastify puts its hook at each route, so it is always outside

test('trailers of a chunked request are there when its body was given back', options, async () => {
  const port = await application(world().settings, async (req, res) => {
    const body = Buffer.concat(await req.toArray());
    res.json([String(body), req.trailers]);
  });
  const socket = net.connect(port, '127.0.0.1');
  socket.write('POST /work HTTP/1.1\r\nHost: x\r\nIdempotency-Key: k\r\nConnection: close\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n3\r\nabc\r\n0\r\nX-Sum: 6\r\n\r\n');
  const answer = String(Buffer.concat(await socket.toArray()));
  assert.ok(answer.endsWith('["abc",{"x-sum":"6"}]'), answer);
});

// ---- a server that fails at every moment ----

/* Between the package and the server. fault: null, or {at, how, times}: the command number so-and-so from now on fails, and
 * those after it, so many in all. */
class Broken {
  fault = null;
  #sockets = new Set();
  #listener = net.createServer((client) => this.#connected(client));

  async start() {
    this.#listener.listen(0, '127.0.0.1');
    await new Promise((resolve) => { this.#listener.once('listening', resolve); });
    this.url = `redis://127.0.0.1:${this.#listener.address().port}`;
    return this;
  }

  stop() {
    for (const socket of this.#sockets) socket.destroy();
    this.#listener.close();
  }

  #connected(client) {
    const upstream = net.connect(server().port, '127.0.0.1');
    const cut = () => [client, upstream].forEach((socket) => socket.destroy());
    let how = null;
    for (const socket of [client, upstream]) {
      this.#sockets.add(socket);
      socket.on('error', cut).on('close', cut);
    }
    client.on('data', (data) => {
      if (String(data).includes('IDEM.')) how ??= this.#next();
      if (how === 'cut before') cut();
      else if (how !== 'swallowed') upstream.write(data);
    });
    upstream.on('data', (data) => {
      if (how === 'cut after') return cut();
      if (how === 'cut in the middle') return client.write(data.subarray(0, 3), cut);
      if (how === null) client.write(data);
      return undefined; // what hangs is not answered
    });
  }

  #next() {
    if (this.fault === null || (this.fault.at -= 1) > 0) return null;
    const { how } = this.fault;
    if ((this.fault.times -= 1) === 0) this.fault = null;
    return how;
  }
}

/* The package finds this client library, and no other. */
function onlyWith(name, work) {
  const resolve = Module._resolveFilename;
  Module._resolveFilename = (request, ...rest) => {
    if (request !== name && /^(io)?redis$/.test(request)) throw Object.assign(new Error(request), { code: 'MODULE_NOT_FOUND' });
    return resolve(request, ...rest);
  };
  try {
    return work();
  } finally {
    Module._resolveFilename = resolve;
  }
}

const FAULTS = ['cut before', 'swallowed', 'cut after', 'cut in the middle', 'hangs'];
for (const library of ['ioredis', 'redis']) {
  for (const hold of [false, true]) {
    test(`${library}: a server that fails at any command is one execution in the end (hold ${hold})`, { timeout: 120_000 }, async (t) => {
      const broken = await new Broken().start();
      t.after(() => broken.stop());
      const { settings } = world({ url: broken.url, timeoutMs: 100, hold });
      const ran = {};
      const port = await onlyWith(library, () => application(settings, (req, res) => {
        const key = req.get('Idempotency-Key');
        ran[key] = [...(ran[key] ?? []), req.idempotency.attempt];
        res.end('ran');
      }));
      for (const [how, at, times] of FAULTS.flatMap((fault) => [1, 2, 3].flatMap((place) => [[fault, place, 1], [fault, place, 3]]))) {
        const key = `${how} ${at} ${times}`.replaceAll(' ', '-');
        broken.fault = { at, how, times };
        const seen = [];
        await until(async () => {
          const { status, text } = await post(port, '/work', key);
          seen.push(status);
          return status === 200 && text === 'ran';
        }, `an answer after '${key}': ${seen}`);
        await until(async () => (await post(port, '/work', key)).headers['idempotent-replayed'] === 'true', `a replay after '${key}'`);
        assert.ok(seen.every((status) => [200, 409, 503].includes(status)), `${key}: ${seen}`);
        assert.deepEqual(ran[key], [1], `'${key}': ${seen}`);
        broken.fault = null;
      }
    });
  }
}
