// How a request can end in ways that nobody planned: something else has answered, the client or the server is gone, what
// cannot be sent. Nothing of it ends the process, and no claim stays open. In every framework.
'use strict';

const assert = require('node:assert/strict');
const { once } = require('node:events');
const test = require('node:test');
const FRAMEWORKS = require('./frameworks.js');
const suite = require('./suite.js');
const { need, until, post } = require('./world.js');

const forExpress = need('idem-node/express');
const { options, world, names, application, served, rawPost, gate, openSockets, pausable } = suite(test);

const everywhere = (name, body, only = Object.keys(FRAMEWORKS)) => {
  for (const framework of only) {
    test(`${framework}: ${name}`, options, (t) => body(t, async (settings, work, more) => {
      const { port, close } = await FRAMEWORKS[framework](settings, work, more);
      t.after(close);
      return port;
    }, framework));
  }
};
const WITH_RES = ['express', 'fastify', 'koa']; // whose handlers share a response of node:http

// ---- something else has answered ----

everywhere('a time-out that answers while the server is asked: nothing runs behind it, and the next one is attempt 1', async (t, start) => {
  const { server, settings, events } = await pausable(t, { timeoutMs: 5_000 });
  let ran = 0;
  let answerInstead = false;
  const before = (req, res) => {
    if (!answerInstead) return;
    setTimeout(() => {
      res.statusCode = 503;
      res.end('too slow');
    }, 20);
  };
  const port = await start(settings, ({ attempt }) => {
    ran += 1;
    return { body: `attempt ${attempt}` };
  }, { before });
  await post(port, '/work', 'warm');
  answerInstead = true;
  server.pause();
  assert.equal((await post(port, '/work', 'k')).text, 'too slow');
  answerInstead = false;
  server.resume();
  await until(() => names(events).includes('released'), 'the claim given back');
  assert.equal(ran, 1);
  assert.equal((await post(port, '/work', 'k')).text, 'attempt 1');
}, WITH_RES);

everywhere('what is refused while something else answers is not sent', async (t, start) => {
  const { server, settings } = await pausable(t, { timeoutMs: 300 });
  const port = await start(settings, () => ({ body: 'ran' }), { before: (req, res) => setTimeout(() => res.end('instead'), 20) });
  server.pause();
  assert.equal((await post(port, '/work', 'k')).text, 'instead');
  await until(() => settings.logger.lines.some((line) => /is refused/.test(line)), 'the refusal');
}, WITH_RES);

everywhere('something that has kept the functions below answers while the handler runs: it has run, and that is known', async (t, start) => {
  const { settings, events } = world();
  const door = gate();
  let below;
  const before = (req, res) => {
    const { end } = res;
    below = () => end.call(res, 'from below');
  };
  const port = await start(settings, async () => {
    await door.enter();
    return { body: 'from the handler' };
  }, { before });
  const first = post(port, '/work', 'k');
  await door.running;
  below();
  assert.equal((await first).text, 'from below');
  door.leave();
  await until(() => names(events).includes('not_kept'), 'the end of the claim');
  assert.equal((await post(port, '/work', 'k')).status, 410);
}, WITH_RES);

everywhere('the same, and the handler throws: attempt 2', async (t, start) => {
  const { settings, events } = world();
  const door = gate();
  let below = null;
  const before = (req, res) => {
    const { end } = res;
    below = () => end.call(res, 'from below');
  };
  const port = await start(settings, async () => {
    await door.enter();
    throw new Error('broken');
  }, { before });
  const first = post(port, '/work', 'k');
  await door.running;
  below();
  await first;
  door.leave();
  await until(() => names(events).includes('unsure'), 'the end of the claim');
}, WITH_RES);

test('a handler that throws after it has answered: its answer is sent, and stored', options, async () => {
  const { settings } = world();
  const port = await application(settings, (req, res) => {
    res.end('done');
    throw new Error('too late');
  });
  assert.equal((await post(port, '/work', 'k')).text, 'done');
  assert.equal((await post(port, '/work', 'k')).headers['idempotent-replayed'], 'true');
  assert.match(settings.logger.lines.join(), /after it had answered: too late/);
});

test('a handler that throws where nobody catches it is a 500, and the next one is attempt 2', options, async () => {
  const { settings, events } = world();
  const guard = forExpress.idempotency(settings);
  const port = await served((req, res) => guard(req, res, () => { throw new Error('broken'); }), () => guard.close());
  for (let i = 0; i < 2; i += 1) assert.equal((await post(port, '/work', 'k')).status, 500);
  assert.deepEqual(names(events), ['claimed', 'unsure', 'claimed', 'unsure']);
});

// ---- what cannot be sent ----

test('a status that does not exist is the error of who says it, not of the process', options, async () => {
  const { settings } = world();
  const said = [];
  const port = await application(settings, (req, res) => {
    for (const status of [99, 1000, NaN, undefined]) assert.throws(() => res.writeHead(status), { code: 'ERR_HTTP_INVALID_STATUS_CODE' });
    res.writeHead(201);
    res.end('fine');
    said.push('fine');
  });
  assert.equal((await post(port, '/work', 'k')).status, 201);
  assert.deepEqual(said, ['fine']);
});

test('a status message that cannot be sent is a clean 500, though the response is stored', options, async () => {
  const { settings } = world();
  const port = await application(settings, (req, res) => {
    res.statusMessage = 'a\nb';
    res.set('X-Half', '1').end('x');
  });
  const first = await post(port, '/work', 'k');
  assert.deepEqual([first.status, first.headers['x-half']], [500, undefined]);
  assert.match(settings.logger.lines.join(), /cannot be sent/);
});

everywhere('a keep that fails is a 500, and the next one is attempt 2', async (t, start) => {
  for (const keep of [() => { throw new Error('broken'); }, async () => { throw new Error('broken'); }]) {
    const { settings, events } = world({ keep });
    const port = await start(settings, () => ({ body: 'ran' }));
    assert.equal((await post(port, '/work', 'k')).status, 500);
    assert.deepEqual(names(events), ['claimed', 'unsure']);
  }
});

test('a keep that fails when the response flows already: the connection is cut', options, async () => {
  const { settings, events } = world({ bodyLimit: 10, keep: () => { throw new Error('broken'); } });
  const port = await application(settings, (req, res) => {
    res.write('x'.repeat(11));
    res.end();
  });
  await assert.rejects(post(port, '/work', 'k'));
  assert.deepEqual(names(events), ['claimed', 'unsure']);
});

test('a status that is a text is stored as the number that is sent', options, async () => {
  const { settings } = world();
  const port = await application(settings, (req, res) => {
    res.statusCode = '201';
    res.end('ran');
  });
  assert.equal((await post(port, '/work', 'k')).status, 201);
  const again = await post(port, '/work', 'k');
  assert.deepEqual([again.status, again.headers['idempotent-replayed']], [201, 'true']);
});

test('a status above 599 that is to be kept is known to have run', options, async () => {
  const { settings, events } = world({ keep: () => true });
  const port = await application(settings, (req, res) => {
    res.statusCode = 700;
    res.end('ran');
  });
  assert.equal((await post(port, '/work', 'k')).status, 700);
  const again = await post(port, '/work', 'k');
  assert.deepEqual([again.status, JSON.parse(again.text).original_status], [410, 700]);
  assert.deepEqual(names(events), ['claimed', 'not_kept', 'not_kept']);
});

// ---- a handler that throws when its response flows, or has ended ----

/* handler(res) writes by itself, and may throw. Of Express, of what calls (req, res, next) without it, and of Koa. */
const BY_HAND = {
  express: (settings, handler) => application(settings, (req, res) => handler(res)),
  plain: (settings, handler) => {
    const guard = forExpress.idempotency(settings);
    return served((req, res) => guard(req, res, () => handler(res)), () => guard.close());
  },
  koa: (settings, handler) => {
    const app = new (need('koa'))();
    app.silent = true;
    const guard = need('idem-node/koa').idempotency(settings);
    app.use(guard);
    app.use((ctx) => {
      ctx.respond = false;
      ctx.res.statusCode = 200; // Koa begins with 404
      handler(ctx.res);
    });
    return served(app.callback(), () => guard.close());
  },
};

for (const [framework, start] of Object.entries(BY_HAND)) {
  for (const [what, error, event, attempt] of [
    ['an exception', () => new Error('broken'), 'unsure', 2],
    ['an exception with a status below 500', () => Object.assign(new Error('broken'), { status: 402 }), 'unsure', 2],
    ['DidNothing', () => new forExpress.DidNothing('nothing'), 'released', 1],
  ]) {
    test(`${framework}: ${what} when the response flows: the connection is cut, and the next one is attempt ${attempt}`, options, async () => {
      const { settings, events } = world({ bodyLimit: 10, leaseMs: 300 });
      const port = await start(settings, (res) => {
        res.write('x'.repeat(11));
        throw error();
      });
      for (let i = 0; i < 2; i += 1) {
        await assert.rejects(post(port, '/work', 'k'));
        await until(() => events.length === 2 * (i + 1), 'the end of the claim');
      }
      assert.deepEqual(events.map(([name, fields]) => [name, fields.attempt]), [['claimed', 1], [event, 1], ['claimed', attempt], [event, attempt]]);
    });
  }

  for (const [bodyLimit, event, again] of [[1000, 'stored', 200], [10, 'not_kept', 410]]) {
    test(`${framework}: a handler that throws after it has ended its response (${event}): it is sent, and that it ran is known`, options, async () => {
      const { settings, events } = world({ bodyLimit, keep: async () => true });
      const port = await start(settings, (res) => {
        res.write('x'.repeat(11));
        res.end('y');
        throw new Error('too late');
      });
      assert.equal((await post(port, '/work', 'k')).text, `${'x'.repeat(11)}y`);
      assert.equal((await post(port, '/work', 'k')).status, again);
      assert.deepEqual(names(events).slice(0, 2), ['claimed', event]);
      assert.match(settings.logger.lines.join(), /after it had answered: too late/);
    });
  }
}

// ---- a client that leaves ----

/* A response over the limit: so many pieces, and then perhaps an error. */
async function* long(count, fails = false) {
  for (let i = 0; i < count; i += 1) {
    yield Buffer.alloc(600, 'x');
    await new Promise((resolve) => { setImmediate(resolve); });
  }
  if (fails) throw new Error('broken');
}

everywhere('a client that leaves before a long response begins: it goes on, and it is known that it ran', async (t, start) => {
  const { settings, events } = world({ bodyLimit: 1000 });
  const door = gate();
  const port = await start(settings, async () => {
    await door.enter();
    return { status: 202, body: long(100) };
  });
  const socket = rawPost(port, 'k');
  await door.running;
  socket.destroy();
  await until(() => openSockets(port) === 0, 'the end of the connection');
  door.leave();
  await until(() => events.length > 1, 'the end of the claim');
  assert.deepEqual(names(events), ['claimed', 'not_kept']);
  assert.equal((await post(port, '/work', 'k', { body: '{}' })).status, 410);
});

everywhere('the same, with a source that fails: attempt 2', async (t, start) => {
  const { settings, events } = world({ bodyLimit: 1000 });
  const door = gate();
  const port = await start(settings, async () => {
    await door.enter();
    return { body: long(100, true) };
  });
  const socket = rawPost(port, 'k');
  await door.running;
  socket.destroy();
  await until(() => openSockets(port) === 0, 'the end of the connection');
  door.leave();
  await until(() => events.length > 1, 'the end of the claim');
  assert.deepEqual(names(events), ['claimed', 'unsure']);
});

everywhere('a client that leaves at any moment of a response leaves no claim open', async (t, start) => {
  const { settings, events } = world({ bodyLimit: 1000 });
  const port = await start(settings, () => ({ body: long(40) }));
  await post(port, '/work', 'warm');
  const leaving = Array.from({ length: 60 }, (_, i) => {
    const socket = rawPost(port, `k${i}`);
    socket.once('connect', () => setTimeout(() => socket.destroy(), i));
    return once(socket, 'close');
  });
  await Promise.all(leaving);
  await post(port, '/work', 'last'); // what came before it has been seen
  const count = (...wanted) => names(events).filter((name) => wanted.includes(name)).length;
  await until(() => count('not_kept') === count('claimed'), 'the end of all claims');
  assert.ok(count('claimed') > 2, 'none came so far as to be claimed');
  assert.equal(count('claimed', 'not_kept'), events.length);
});

everywhere('a source without an end is left when its claim is renewed no longer', async (t, start) => {
  const { settings, events } = world({ renewForMs: 300 });
  let isOpen = true;
  async function* endless() {
    try {
      for (;;) {
        yield Buffer.from('data: x\n\n');
        await new Promise((resolve) => { setTimeout(resolve, 5); });
      }
    } finally {
      isOpen = false;
    }
  }
  const port = await start(settings, () => ({ headers: { 'Content-Type': 'text/event-stream' }, body: endless() }));
  const socket = rawPost(port, 'k');
  await new Promise((resolve) => { socket.once('data', resolve); });
  socket.destroy();
  await until(() => !isOpen, 'the end of the source');
  await until(() => names(events).includes('unsure'), 'the end of the claim');
});
