// What a framework or Node itself makes hard: each of these was wrong in some middleware. The suite of tests/http proves
// the rest over HTTP, in every framework.
'use strict';

const assert = require('node:assert/strict');
const { once } = require('node:events');
const { createReadStream } = require('node:fs');
const http = require('node:http');
const http2 = require('node:http2');
const net = require('node:net');
const { PassThrough, Readable, pipeline } = require('node:stream');
const test = require('node:test');
const FRAMEWORKS = require('./frameworks.js');
const suite = require('./suite.js');
const { lib, need, until, post, listening } = require('./world.js');

const express = need('express');
const Fastify = need('fastify');
const Koa = need('koa');
const onFinished = need('on-finished');
const onHeaders = need('on-headers');
const forExpress = need('idem-node/express');
const forFastify = need('idem-node/fastify');
const forKoa = need('idem-node/koa');
const { checked } = lib('settings.js');
const { Store } = lib('store.js');
const { job, DidNothing, InProgress, KeyReused, OutcomeUnknown, NotKept, Unavailable } = need('idem-node');

const { options, server, world, names, application, rawPost, gate, openSockets, pausable, closing } = suite(test);

test('the implicit head is seen by middleware inside, and is stored', options, async () => {
  const { settings } = world();
  const inside = [(req, res, next) => {
    onHeaders(res, () => res.setHeader('X-Late', '1'));
    next();
  }];
  const port = await application(settings, (req, res) => res.end('done'), { inside });
  const first = await post(port, '/work', 'k');
  const again = await post(port, '/work', 'k');
  assert.equal(first.headers['x-late'], '1');
  assert.equal(again.headers['x-late'], '1');
  assert.equal(again.headers['idempotent-replayed'], 'true');
});

test('a length that is wrong is made anew, also for the first', options, async () => {
  const { settings } = world();
  const port = await application(settings, (req, res) => {
    res.setHeader('Content-Length', Number(req.headers['x-length']));
    res.end('done');
  });
  for (const length of ['3', '5']) {
    for (let i = 0; i < 2; i += 1) {
      const { headers, text } = await post(port, '/work', `k${length}`, { headers: { 'X-Length': length } });
      assert.deepEqual([headers['content-length'], text], ['4', 'done']);
    }
  }
});

test('middleware outside that has replaced write() and end() gets every byte, once, also of a replay', options, async () => {
  const { settings } = world();
  const outside = [(req, res, next) => {
    const { end, write } = res;
    res.write = (chunk) => write.call(res, Buffer.from(String(chunk).toUpperCase()));
    res.end = (chunk) => end.call(res, chunk ? Buffer.from(String(chunk).toUpperCase()) : undefined);
    next();
  }];
  const handler = (req, res) => {
    res.write('a');
    res.end('b');
  };
  const port = await application(settings, handler, { outside });
  assert.equal((await post(port, '/work', 'k')).text, 'AB');
  assert.equal((await post(port, '/work', 'k')).text, 'AB');
});

test('a handler sees its own response as sent, as without the middleware', options, async () => {
  const { settings } = world();
  const seen = [];
  const port = await application(settings, (req, res) => {
    seen.push(res.headersSent, res.writableEnded);
    res.writeHead(202, 'Fine', [['X-A', '1'], ['X-A', '2']]);
    seen.push(res.headersSent);
    assert.throws(() => res.setHeader('X-B', '1'), { code: 'ERR_HTTP_HEADERS_SENT' });
    assert.throws(() => res.writeHead(200), { code: 'ERR_HTTP_HEADERS_SENT' });
    res.end('x', () => seen.push('finished'));
    seen.push(res.writableEnded);
  });
  const { status, headers } = await post(port, '/work', 'k');
  assert.equal(status, 202);
  assert.equal(headers['x-a'], '1, 2');
  await until(() => seen.length === 5, 'the callback of end()');
  assert.deepEqual(seen, [false, false, true, true, 'finished']);
});

for (const [name, respond] of Object.entries({
  'sendFile()': (req, res) => res.sendFile(__filename),
  'pipe()': (req, res) => createReadStream(__filename).pipe(res),
  'pipeline()': (req, res) => pipeline(createReadStream(__filename), res, () => {}),
})) {
  test(`a client that leaves before ${name} ends nothing`, options, async () => {
    const { settings, events } = world();
    const door = gate();
    const outside = [(req, res, next) => {
      onFinished(res, () => {}); // as a log of requests does
      next();
    }];
    const port = await application(settings, async (req, res) => {
      await door.enter();
      respond(req, res);
    }, { outside });
    const socket = rawPost(port, 'k');
    await door.running;
    socket.destroy();
    await until(() => openSockets(port) === 0, 'the end of the connection');
    door.leave();
    await until(() => names(events).includes('stored'), 'the response stored');
    const again = await post(port, '/work', 'k', { body: '{}' });
    assert.equal(again.headers['idempotent-replayed'], 'true');
    assert.ok(again.text.startsWith('// What a framework'));
  });
}

test('what a handler listens to does not hear that the client has left, until the response is stored', options, async () => {
  const { settings, events } = world();
  const door = gate();
  const heard = [];
  const outside = [(req, res, next) => {
    onFinished(res, () => heard.push('outside'));
    next();
  }];
  const port = await application(settings, async (req, res) => {
    onFinished(res, () => heard.push('on-finished'));
    res.on('close', () => heard.push('close'));
    await door.enter();
    heard.push('answered');
    res.end('done');
  }, { outside });
  const socket = rawPost(port, 'k');
  await door.running;
  socket.destroy();
  await until(() => heard.includes('outside'), 'the end of the connection, outside');
  door.leave();
  await until(() => heard.includes('close'), 'the end of the connection, inside');
  assert.deepEqual(heard.slice(0, 2), ['outside', 'answered']);
  assert.deepEqual(names(events), ['claimed', 'stored']);
});

test('a stream of Koa goes on when the client has left', options, async () => {
  const { settings, events } = world();
  const door = gate();
  const app = new Koa();
  app.silent = true;
  app.use(forKoa.idempotency(settings));
  app.use(async (ctx) => {
    ctx.body = new PassThrough(); // Koa destroys it when the client has left
    await door.enter();
    ctx.body.end('done');
  });
  const server = http.createServer(app.callback());
  const port = await listening(server);
  closing.push(() => server.close());
  const socket = rawPost(port, 'k');
  await door.running;
  socket.destroy();
  await until(() => openSockets(port) === 0, 'the end of the connection');
  door.leave();
  await until(() => events.length > 1, 'the end of the claim');
  assert.deepEqual(names(events), ['claimed', 'stored']);
});

test('a source that fails is a clean 500, and the next one is attempt 2', options, async () => {
  const { settings, events } = world();
  async function* failing() {
    yield 'some';
    throw new Error('broken');
  }
  const port = await application(settings, (req, res) => pipeline(Readable.from(failing()), res, () => {}));
  assert.equal((await post(port, '/work', 'k')).status, 500);
  assert.equal((await post(port, '/work', 'k')).status, 500);
  assert.deepEqual(events.map(([name, { attempt }]) => [name, attempt]), [['claimed', 1], ['unsure', 1], ['claimed', 2], ['unsure', 2]]);
});

test('an exception after some of the answer was written is a clean 500', options, async () => {
  const { settings, events } = world();
  const port = await application(settings, (req, res) => {
    res.set('X-Half', '1').write('half of it');
    throw new Error('broken');
  });
  const { status, headers, text } = await post(port, '/work', 'k');
  assert.equal(status, 500);
  assert.equal(headers['x-half'], undefined);
  assert.ok(!text.startsWith('half'));
  assert.deepEqual(names(events), ['claimed', 'unsure']);
});

test('a body that something outside has read counts by what is left of it', options, async () => {
  const { settings } = world();
  const port = await application(settings, (req, res) => res.json(req.body), { outside: [express.json()] });
  assert.equal((await post(port, '/work', 'k', { body: '{"a":1,"b":2}' })).status, 200);
  assert.equal((await post(port, '/work', 'k', { body: '{"b":2, "a":1}' })).headers['idempotent-replayed'], 'true');
  assert.equal((await post(port, '/work', 'k', { body: '{"a":2,"b":2}' })).status, 422);
});

test('a body of which nothing is left is an error at the first request', options, async () => {
  const { settings } = world();
  const eaten = (req, res, next) => req.resume().on('end', next);
  const port = await application(settings, (req, res) => res.end('ran'), { outside: [eaten] });
  const { status, text } = await post(port, '/work', 'k');
  assert.equal(status, 500);
  assert.match(text, /move it outside of the body parser/);
});

test('a large body is given back whole, and an empty one ends', options, async () => {
  const { settings } = world();
  const port = await application(settings, async (req, res) => {
    let size = 0;
    for await (const chunk of req) size += chunk.length;
    res.end(String(size));
  });
  assert.equal((await post(port, '/work', 'large', { body: 'x'.repeat(3 << 20) })).text, String(3 << 20));
  assert.equal((await post(port, '/work', 'empty', { body: '' })).text, '0');
  const chunked = http.request({ port, path: '/work', method: 'POST', headers: { 'Idempotency-Key': 'chunked', 'Transfer-Encoding': 'chunked' } });
  chunked.end();
  const [response] = await once(chunked, 'response');
  assert.equal(String(await response.toArray()), '0');
});

test('a body that the handler has not read yet is there when the client has left', options, async () => {
  const { settings, events } = world();
  const door = gate();
  let body = null;
  const port = await application(settings, async (req, res) => {
    await door.enter();
    body = String(Buffer.concat(await req.toArray()));
    res.end('done');
  });
  const socket = rawPost(port, 'k', '{"a":1}');
  await door.running;
  socket.destroy();
  await until(() => openSockets(port) === 0, 'the end of the connection');
  door.leave();
  await until(() => names(events).includes('stored'), 'the response stored');
  assert.equal(body, '{"a":1}');
});

test('a client that leaves while it sends the body claims nothing', options, async () => {
  const { settings, events } = world();
  const heard = [];
  const outside = [(req, res, next) => {
    req.on('error', (error) => heard.push(error.code));
    next();
  }];
  const port = await application(settings, (req, res) => res.end('ran'), { outside });
  const socket = rawPost(port, 'k', { length: 100, toString: () => 'half' });
  await until(() => openSockets(port) === 1, 'the connection');
  socket.destroy();
  await until(() => heard.length > 0, 'the end of the request');
  assert.deepEqual(events, []);
});

test('two middlewares on one request are an error, not a second claim', options, async () => {
  const { settings } = world();
  const port = await application(settings, (req, res) => res.end('ran'), { inside: [forExpress.idempotency(settings)] });
  const { status, text } = await post(port, '/work', 'k');
  assert.equal(status, 500);
  assert.match(text, /guards this request already/);
});

test('HTTP/2: Koa and Fastify answer, store and replay', options, async () => {
  const koa = new Koa();
  koa.use(forKoa.idempotency(world().settings));
  koa.use((ctx) => { ctx.body = { a: 1 }; });
  const server = http2.createServer(koa.callback());
  const fastify = Fastify({ http2: true });
  await fastify.register(forFastify.idempotency, world().settings);
  fastify.post('/work', async () => ({ a: 1 }));
  await fastify.listen({ port: 0, host: '127.0.0.1' });
  for (const port of [await listening(server), fastify.server.address().port]) {
    const session = http2.connect(`http://127.0.0.1:${port}`);
    for (const replayed of [undefined, 'true']) {
      const stream = session.request({ ':method': 'POST', ':path': '/work', 'idempotency-key': 'k', 'content-type': 'application/json' });
      stream.end('{"x":1}');
      const [headers] = await once(stream, 'response');
      assert.equal(headers[':status'], 200);
      assert.equal(headers['idempotent-replayed'], replayed);
      assert.equal(String(await stream.toArray()), '{"a":1}');
    }
    session.close();
  }
  server.close();
  await fastify.close();
});

test('HTTP/2: an Express-like handler that writes by itself is held, and a 103 passes', options, async () => {
  const { settings, events } = world();
  const guard = forExpress.idempotency(settings);
  const server = http2.createServer((req, res) => guard(req, res, () => {
    res.writeEarlyHints({ link: '</a.css>; rel=preload' });
    res.writeHead(201, { 'x-a': '1' });
    res.write('a');
    res.end('b');
  }));
  const session = http2.connect(`http://127.0.0.1:${await listening(server)}`);
  const stream = session.request({ ':method': 'POST', ':path': '/work', 'idempotency-key': 'k' });
  const early = [];
  stream.on('headers', (headers) => early.push(headers[':status']));
  stream.end('x');
  const [headers] = await once(stream, 'response');
  assert.equal(headers[':status'], 201);
  assert.equal(String(await stream.toArray()), 'ab');
  assert.deepEqual(early, [103]);
  assert.deepEqual(names(events), ['claimed', 'stored']);
  session.close();
  server.close();
});

test('a reply that Fastify\'s handler has hijacked is held, stored and replayed', options, async () => {
  const { settings } = world();
  const app = Fastify({ forceCloseConnections: true }); // Node 18 leaves those open that are kept alive
  await app.register(forFastify.idempotency, settings);
  app.post('/work', (request, reply) => {
    reply.hijack();
    reply.raw.writeHead(202, { 'x-a': '1' });
    reply.raw.end('by hand');
  });
  await app.listen({ port: 0, host: '127.0.0.1' });
  const { port } = app.server.address();
  await post(port, '/work', 'k');
  const { status, headers, text } = await post(port, '/work', 'k');
  assert.deepEqual([status, headers['x-a'], headers['content-type'], text], [202, '1', undefined, 'by hand']);
  await app.close();
});

test('a wrong setting of a route stops Fastify at start', options, async () => {
  const app = Fastify();
  await app.register(forFastify.idempotency, world().settings);
  assert.throws(() => app.post('/work', { config: { idempotency: { waitMS: 1 } } }, async () => 'x'), /no setting is called 'waitMS'/);
  await app.close();
});

// ---- who the caller is ----

test('a scope that is no text is an error, and nothing runs: it would be one scope for all', options, async () => {
  for (const scope of [{ id: 5 }, true, 1.5, 2 ** 53, Buffer.from('5'), ['a'], Symbol('a')]) {
    const { settings, events } = world({ scope: async () => scope });
    const port = await application(settings, (req, res) => res.end('ran'));
    const { status, text } = await post(port, '/work', 'k');
    assert.equal(status, 500, String(scope));
    assert.match(text, /scope has to give a text or a whole number/);
    assert.deepEqual(events, []);
  }
});

test('a number as a scope is its digits, and none is not the empty one', options, async () => {
  const scopes = [5, '5', 5n, null, undefined, ''];
  const { settings } = world({ scope: () => scopes.shift() });
  const port = await application(settings, (req, res) => res.end('ran'));
  const replayed = [];
  while (scopes.length > 0) replayed.push((await post(port, '/work', 'k')).headers['idempotent-replayed']);
  assert.deepEqual(replayed, [undefined, 'true', 'true', undefined, 'true', undefined]);
});

test('a user without an id is nobody else: a digest of Authorization, or an error that says to set scope', options, async () => {
  const { settings } = world();
  const users = { object: { email: 'a' }, id: { id: { a: 1 } }, text: 'alice', other: 'bob' };
  const login = (req, res, next) => {
    req.user = users[req.get('X-User')];
    next();
  };
  let ran = 0;
  const port = await application(settings, (req, res) => {
    ran += 1;
    res.end('ran');
  }, { outside: [login] });
  for (const name of ['object', 'id']) {
    const { status, text } = await post(port, '/work', 'k', { headers: { 'X-User': name } });
    assert.equal(status, 500, name);
    assert.match(text, /set scope/);
    assert.equal((await post(port, '/work', 'k', { headers: { 'X-User': name, Authorization: name } })).text, 'ran');
  }
  assert.equal(ran, 2);
  for (const name of ['text', 'other']) assert.equal((await post(port, '/work', 'k', { headers: { 'X-User': name } })).text, 'ran', name);
  assert.equal(ran, 4);
});

/* Middleware that authenticates, in each framework's own terms. */
const LOGINS = {
  express: (user) => (req, res, next) => {
    req.user = user(req.headers);
    next();
  },
  fastify: (user) => [Object.assign(async (app) => {
    app.addHook('onRequest', async (request) => { request.user = user(request.headers); });
  }, { [Symbol.for('skip-override')]: true })],
  koa: (user) => (ctx, next) => {
    ctx.state.user = user(ctx.headers);
    return next();
  },
  hono: (user) => (c, next) => {
    c.set('user', user(c.req.header()));
    return next();
  },
};

for (const [framework, login] of Object.entries(LOGINS)) {
  test(`${framework}: a user that is a text or a number is the same caller with a renewed token, and without one`, options, async (t) => {
    const users = { alice: 'alice', bob: 'bob', five: 5, none: undefined };
    const { settings } = world();
    let ran = 0;
    const work = () => {
      ran += 1;
      return { body: 'ran' };
    };
    const { port, close } = await FRAMEWORKS[framework](settings, work, { around: [login((headers) => users[headers['x-user']])] });
    t.after(close);
    const replayed = async (headers) => {
      const answer = await post(port, '/work', 'k', { headers });
      assert.deepEqual([answer.status, answer.text], [200, 'ran'], JSON.stringify(headers));
      return answer.headers['idempotent-replayed'] === 'true';
    };
    for (const [i, name] of ['alice', 'bob', 'five'].entries()) {
      assert.equal(await replayed({ 'X-User': name, Authorization: 'Bearer 1' }), false, name);
      assert.equal(await replayed({ 'X-User': name, Authorization: 'Bearer 2' }), true, name);
      assert.equal(await replayed({ 'X-User': name }), true, name);
      assert.equal(ran, i + 1);
    }
    assert.equal(await replayed({ 'X-User': 'none', Authorization: 'Bearer 1' }), false);
    assert.equal(await replayed({ 'X-User': 'none', Authorization: 'Bearer 2' }), false);
  });
}

test('what operation and born give is checked', options, async () => {
  for (const more of [{ operation: () => 'POST /a' }, { operation: () => ['POST', { path: 1 }] }, { operation: () => undefined },
    { born: () => new Date() }, { born: () => NaN }, { born: () => '5' }]) {
    const { settings, events } = world(more);
    const port = await application(settings, (req, res) => res.end('ran'));
    const { status, text } = await post(port, '/work', 'k');
    assert.equal(status, 500);
    assert.match(text, /has to give/);
    assert.deepEqual(events, []);
  }
});

// ---- the server is silent, or away ----

for (const hold of [false, true]) {
  test(`a CLAIM that was granted though nobody saw it is given back (hold ${hold})`, options, async (t) => {
    const { server, settings, events } = await pausable(t, { hold });
    const port = await application(settings, (req, res) => res.end('ran'));
    assert.equal((await post(port, '/work', 'warm')).status, 200); // the connection is open: the CLAIM reaches the server
    server.pause();
    assert.equal((await post(port, '/work', 'k')).status, 503);
    server.resume();
    await until(async () => (await post(port, '/work', 'k')).status === 200, 'the key free again');
    assert.equal(events.findLast(([name]) => name === 'claimed')[1].attempt, 1);
  });
}

test('a response that could not be stored is sent, and stored as soon as the server is there again', options, async (t) => {
  const { server, settings, events } = await pausable(t);
  const port = await application(settings, (req, res) => {
    server.pause();
    res.end('ran');
  });
  const first = await post(port, '/work', 'k');
  assert.deepEqual([first.status, first.text], [200, 'ran']);
  assert.deepEqual(names(events), ['claimed', 'not_stored']);
  assert.match(settings.logger.lines.join(), /the response is NOT stored/);
  server.resume();
  await until(() => names(events).includes('stored'), 'the response stored');
  assert.equal((await post(port, '/work', 'k')).headers['idempotent-replayed'], 'true');
});

test('without a server there is one line a second, with a count', options, async () => {
  const { settings } = world({ url: 'redis://127.0.0.1:1', timeoutMs: 500 });
  const port = await application(settings, (req, res) => res.end('ran'));
  const answers = await Promise.all(Array.from({ length: 20 }, (_, i) => post(port, '/work', `k${i}`)));
  assert.ok(answers.every(({ status, headers }) => status === 503 && headers['retry-after'] === '1'));
  assert.equal(settings.logger.lines.length, 1);
  assert.ok(!settings.logger.lines[0].includes('k1'));
});

test('a renewal that fails is tried again, and one that another owner has made impossible tells lost', options, async (t) => {
  const { server, settings, events } = await pausable(t, { leaseMs: 900 });
  const door = gate();
  let claim;
  const port = await application(settings, async (req, res) => {
    claim = req.idempotency;
    await door.enter();
    res.end('ran');
  });
  const answer = post(port, '/work', 'k');
  await door.running;
  server.pause();
  await until(() => names(events).includes('renewal_failed'), 'a renewal that failed');
  server.resume();
  const admin = new (need('ioredis').Redis)(server.url);
  await admin.call('FLUSHALL');
  await until(() => claim.lost, 'lost');
  door.leave();
  assert.equal((await answer).text, 'ran'); // nothing is there: its own
  assert.ok(names(events).includes('lost') && names(events).includes('overtaken'));
  admin.disconnect();
});

// ---- clients of the application ----

const NOT_LATER = { enableOfflineQueue: false, autoResendUnfulfilledCommands: false };

async function openNodeRedis(version) {
  const client = need(version).createClient({ url: server().url, disableOfflineQueue: true });
  client.on('error', () => {});
  await client.connect();
  return client;
}

async function ready(client) {
  await once(client, 'ready');
  return client;
}

for (const [name, open, close] of [
  ['ioredis', async () => ready(new (need('ioredis').Redis)(server().url, NOT_LATER)), (client) => client.disconnect()],
  ['node-redis', () => openNodeRedis('redis'), (client) => client.destroy()],
]) {
  test(`a client of ${name} that is given is used, duplicated for waits, and not closed`, options, async () => {
    const client = await open();
    const { settings } = world({ client, waitMs: 10_000 });
    delete settings.url;
    const door = gate();
    const guard = forExpress.idempotency(settings);
    const port = await application({ ...settings }, async (req, res) => {
      await door.enter();
      res.end(Buffer.from([0, 13, 10, 255]));
    });
    const first = post(port, '/work', 'k');
    await door.running;
    const second = post(port, '/work', 'k');
    const admin = new (need('ioredis').Redis)(server().url);
    await until(async () => /waiting_callers:[1-9]|blocked_clients:[1-9]/.test(await admin.info()), 'a caller that waits');
    door.leave();
    assert.equal((await first).status, 200);
    assert.equal((await second).headers['idempotent-replayed'], 'true');
    guard.close();
    assert.ok(await (client.ping ? client.ping() : client.PING()));
    close(client);
    admin.disconnect();
  });
}

for (const version of ['ioredis', 'ioredis6', 'redis4', 'redis', 'redis6']) {
  test(`${version}: a caller that leaves at any moment closes its waiting connection, once or twice`, options, async (t) => {
    const isIoredis = version.startsWith('io');
    const client = await (isIoredis ? ready(new (need(version).Redis)(server().url, NOT_LATER)) : openNodeRedis(version));
    t.after(() => (client.destroy ? client.destroy() : client.disconnect()));
    const store = new Store(checked({ client, timeoutMs: 5_000 }));
    t.after(() => store.close());
    const admin = await ready(new (need('ioredis').Redis)(server().url));
    t.after(() => admin.disconnect());
    const clients = async () => Number(/connected_clients:(\d+)/.exec(await admin.info())[1]);
    const before = await clients();
    const record = `leaving:${version}`;
    await store.call(['IDEM.CLAIM', record, 'OWNER', 'first', 'LEASE', 60_000]);
    const leave = (ms) => {
      const leaving = new AbortController();
      const waits = store.wait(['IDEM.CLAIM', record, 'OWNER', `o${ms}`, 'LEASE', 60_000], 20_000, leaving.signal);
      if (ms === 0) leaving.abort();
      else setTimeout(() => leaving.abort(), ms);
      return assert.rejects(waits);
    };
    await Promise.all(Array.from({ length: 20 }, (_, ms) => leave(ms)));
    await until(async () => await clients() === before, 'the connections closed');
  });
}

// ---- jobs ----

test('a job runs once, and its result is everybody\'s', options, async () => {
  const { settings } = world({ prefix: 'jobs' });
  let runs = 0;
  const pay = job({ ...settings, name: 'a', key: (order) => order.id, input: (order) => order }, async (order, claim) => {
    runs += 1;
    assert.equal(claim.attempt, 1);
    return { paid: order.amount };
  });
  assert.deepEqual(await pay({ id: 'a', amount: 5 }), { paid: 5 });
  assert.deepEqual(await pay({ id: 'a', amount: 5 }), { paid: 5 });
  await assert.rejects(pay({ id: 'a', amount: 6 }), KeyReused);
  assert.equal(runs, 1);
  pay.close();
});

test('a job that raised is attempt 2, one that did nothing attempt 1, one with hold waits for somebody', options, async () => {
  const attempts = [];
  const failing = (error, more) => job({ ...world().settings, name: 'a', key: () => 'k', ...more }, (claim) => {
    attempts.push(claim.attempt);
    throw error;
  });
  for (const [error, more] of [[new Error('x'), {}], [new DidNothing(), {}], [new Error('x'), { hold: true }]]) {
    const work = failing(error, more);
    await assert.rejects(work(), error);
    await assert.rejects(work(), more.hold ? OutcomeUnknown : error);
    work.close();
  }
  assert.deepEqual(attempts, [1, 2, 1, 1, 1]);
});

test('a job that gives a function has no result, as one that gives undefined', options, async (t) => {
  const { settings } = world();
  const client = await openNodeRedis('redis');
  t.after(() => (client.destroy ? client.destroy() : client.disconnect()));
  const work = job({ ...settings, client, name: 'a', key: () => 'k' }, () => () => 1);
  await work();
  assert.equal(await work(), undefined);
  work.close();
});

test('a job that runs already, whose result is too big, or without a server says so', options, async () => {
  const { settings } = world();
  let again;
  const work = job({ ...settings, name: 'a', key: (name) => name }, async (name) => {
    if (name === 'busy') again = await work('busy').catch((error) => error);
    return name === 'big' ? 'x'.repeat(17 << 20) : undefined;
  });
  assert.equal(await work('busy'), undefined);
  assert.ok(again instanceof InProgress && again.retryable);
  assert.equal(await work('busy'), undefined);
  await work('big');
  await assert.rejects(work('big'), NotKept);
  work.close();
  const alone = job({ ...settings, url: 'redis://127.0.0.1:1', name: 'a', key: () => 'k' }, () => {});
  await assert.rejects(alone(), Unavailable);
  alone.close();
  assert.throws(() => job({ name: 'a', key: () => 1, scope: () => 1 }, () => {}), /no setting 'scope'/);
  for (const name of [undefined, '', 5, 'x'.repeat(257)]) assert.throws(() => job({ name, key: () => 1 }, () => {}), /'name' has to be a text/);
  assert.throws(() => job({}, () => {}), /'key' has to be a function/);
});

test('two jobs with equal keys are two jobs', options, async () => {
  const { settings } = world();
  const works = ['charge', 'ship'].map((name) => job({ ...settings, name, key: (id) => id }, () => name));
  for (const work of works) assert.equal(await work(7), await work('7'));
  assert.deepEqual(await Promise.all(works.map((work) => work(7))), ['charge', 'ship']);
  for (const work of works) work.close();
});

test('a key that is no text is an error, and nothing runs', options, async () => {
  const { settings, events } = world();
  const work = job({ ...settings, name: 'a', key: (key) => key }, () => 'ran');
  for (const key of [{ id: 5 }, null, undefined, '', true, 1.5, ['a'], NaN]) await assert.rejects(work(key), /has to give a text/, String(key));
  await assert.rejects(work('x'.repeat(1024)), RangeError);
  await assert.rejects(work('\ud800'), TypeError);
  const compared = job({ ...settings, name: 'b', key: () => 1, input: (input) => input }, () => 'ran');
  for (const input of [new Map([[1, 2]]), new Set(), { form: new URLSearchParams('a=1') }]) await assert.rejects(compared(input), /cannot be compared/);
  const born = job({ ...settings, name: 'c', key: () => 1, born: () => new Date() }, () => 'ran');
  await assert.rejects(born(), /born has to give/);
  assert.deepEqual(events, []);
  for (const each of [work, compared, born]) each.close();
});
