// For the programs of the Node.js clients: the steps, over what a client's program says of itself.
// It must not know any client: `adapter` does. Replies are compared as strings and numbers.
'use strict';
const { createInterface } = require('node:readline');

const BODY = '{"id":1}', META = '201', MANY = 200;
const BINARY_KEY = Buffer.from('62696e0d0a00ff206b6579', 'hex');
const BINARY_BODY = Buffer.concat([Buffer.from(Array.from({ length: 256 }, (_, i) => i)),
    Buffer.from('\r\n\0\r\n$5\r\n')]);
const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();

exports.host = process.env.IDEM_HOST;
exports.port = Number(process.env.IDEM_PORT);
exports.protocol = Number(process.env.IDEM_PROTOCOL);
exports.major = Number((process.env.IDEM_CLIENT_VERSION || '0').split('.')[0]);

function expect(condition, ...what) {
  const show = (w) => (typeof w === 'string' ? w : JSON.stringify(w));
  if (!condition) throw new Error(what.map(show).join(' '));
}
exports.expect = expect;

async function step(name, run) {
  try {
    const result = await run();
    console.log(`ok ${name}`);
    return result;
  } catch (error) {
    console.log(`not ok ${name} ${String(error).replace(/\n/g, ' ')}`);
    process.exit(1);
  }
}

async function until(what, condition) {
  const deadline = Date.now() + 60000;
  while (!(await condition())) {
    expect(Date.now() < deadline, what, 'did not come');
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}
exports.until = until;

const number = (value) => {
  expect(typeof value === 'number' && Number.isSafeInteger(value), 'a number, not', typeof value,
      String(value));
  return value;
};

// adapter: open() -> {first, second}; call(client, args) with strings in the reply; binary(client,
// args) with Buffers; getName, info, strings, transaction(client); pipeline(client, commands);
// listeners(client, channel) counts them; listen(client, channel, onMessage), which is absent where
// the client has no pub/sub; close().
exports.run = async (adapter) => {
  let first, second;
  const call = (...args) => adapter.call(first, args.map(String));
  const refused = async (code, ...args) => {
    let reply;
    try {
      reply = await call(...args);
    } catch (error) {
      return expect(String(error.message).includes(code), String(error));
    }
    expect(false, code, 'expected, got', reply);
  };
  const expectDone = (reply) => {
    expect(reply[0] === 'DONE' && reply[1] === BODY && reply[2] === META, reply);
    expect(number(reply[4]) > 0 && reply[4] <= 60000, reply);
  };
  const claim = async (...args) => {
    const reply = await call('IDEM.CLAIM', ...args);
    expect(reply[0] === 'CLAIMED' && reply[3] === 1 && reply[4] === null, reply);
    return number(reply[1]);
  };

  await step('connect', async () => {
    ({ first, second } = await adapter.open());
    expect((await call('PING')) === 'PONG', 'PING');
    expect(String(await call('CLIENT', 'INFO')).includes(` resp=${exports.protocol}`),
        `protocol ${exports.protocol}`);
  });
  await step('name', async () => {
    expect((await adapter.getName(first)) === 'node', 'the name given at connect');
  });
  const token = await step('claim', async () => {
    const reply = await call('IDEM.CLAIM', 'order-1', 'FP', 'fp-1', 'OWNER', 'call-1', 'LEASE',
        600000);
    expect(reply.length === 5 && reply[0] === 'CLAIMED' && reply[2] === 600000 && reply[3] === 1 &&
        reply[4] === null, reply);
    return number(reply[1]);
  });
  await step('duplicate', async () => {
    const reply = await call('IDEM.CLAIM', 'order-1', 'FP', 'fp-1', 'OWNER', 'call-2');
    expect(reply[0] === 'BUSY' && reply[1] > 0 && reply[1] <= 600000 && reply[3] === 'call-1' &&
        reply[4] === null,
        reply);
  });
  const waited = adapter.call(second, ['IDEM.CLAIM', 'order-1', 'FP', 'fp-1', 'WAIT', '50000']);
  waited.catch(() => {});
  await step('store', async () => {
    await until('a waiting connection',
        async () => String(await adapter.info(first)).includes('blocked_clients:1\r\n'));
    expect((await call('IDEM.STORE', 'order-1', token, BODY, 'TTL', 60000, 'META', META)) === 1,
        'one waiting caller');
  });
  await step('wait', async () => expectDone(await waited));
  await step('replay', async () => {
    expectDone(await call('IDEM.CLAIM', 'order-1', 'FP', 'fp-1'));
    expectDone(await call('IDEM.FETCH', 'order-1'));
  });
  await step('binary', async () => {
    const granted = await adapter.binary(first, ['IDEM.CLAIM', BINARY_KEY]);
    const stored = await adapter.binary(first,
        ['IDEM.STORE', BINARY_KEY, String(granted[1]), BINARY_BODY]);
    const fetched = await adapter.binary(first, ['IDEM.FETCH', BINARY_KEY]);
    expect(stored === 0 && BINARY_BODY.equals(fetched[1]), 'the body came back changed');
    expect(BINARY_BODY.equals(await adapter.binary(first, ['GET', BINARY_KEY])),
        'GET of the record');
  });
  await step('refusal', async () => {
    await refused('MISMATCH', 'IDEM.CLAIM', 'order-1', 'FP', 'fp-2');
    await refused('STALE', 'IDEM.STORE', 'order-1', token - 1, 'x');
    await refused('unknown command', 'LPUSH', 'a', 'b');
  });
  await step('null', async () => {
    expect((await call('IDEM.FETCH', 'nobody')) === null, 'FETCH of nothing');
  });
  await step('strings', () => adapter.strings(first));
  await step('transaction', async () => {
    const got = await adapter.transaction(first);
    expect(JSON.stringify(got) === '["OK","1",1]', got);
  });
  await (adapter.listen && step('pubsub', async () => {
    const channel = '__idem__:order-2', seen = [];
    const leave = await adapter.listen(second, channel, (message) => seen.push(String(message)));
    await until('a listener', async () => (await adapter.listeners(first, channel)) === 1);
    await call('IDEM.STORE', 'order-2', await claim('order-2'), BODY);
    await until('a message', () => seen.length > 0);
    expect(seen[0] === 'done', seen);
    await leave();
  }));
  await step('pipeline', async () => {
    const keys = Array.from({ length: MANY }, (_, i) => `many-${i}`);
    const claimed = await adapter.pipeline(first, keys.map((key) => ['IDEM.CLAIM', key]));
    const tokens = claimed.map((reply) => number(reply[1]));
    expect(tokens.length === MANY && tokens.every((t, i) => i === 0 || t > tokens[i - 1]),
        'tokens rise');
    const stored = await adapter.pipeline(first,
        keys.map((key, i) => ['IDEM.STORE', key, String(tokens[i]), String(i)]));
    expect(stored.length === MANY && stored.every((n) => n === 0), 'STORE in a pipeline');
  });
  await step('reconnect', async () => {
    console.log('restart');
    expect((await lines.next()).value === 'restarted', 'the server was not restarted');
    let reply;
    // What was sent before the client noticed may fail; OWNER makes sending again safe.
    await until('the client', async () => {
      reply = await call('IDEM.CLAIM', 'order-1', 'OWNER', 'call-9').catch(() => null);
      return reply;
    });
    expect(reply[0] === 'CLAIMED' && reply[1] > token && reply[3] === 1, reply);
  });
  await adapter.close();
  process.exit(0);
};
