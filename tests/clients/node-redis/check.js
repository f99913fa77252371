// node-redis 4, 5 and 6: every step, with sendCommand and the client's own methods.
'use strict';
const redis = require('redis');
const { run, expect, host, port, protocol, major } = require('../steps.js');

const asBuffers = major >= 5
  ? { typeMapping: { [redis.RESP_TYPES.BLOB_STRING]: Buffer } }
  : { returnBuffers: true };
const opened = [];

async function open() {
  const socket = { host, port, reconnectStrategy: () => 50 };
  const version = major >= 5 ? { RESP: protocol } : {};
  const client = redis.createClient({ socket, name: 'node', ...version });
  client.on('error', () => {}); // the restart; a command that fails says so itself
  await client.connect();
  opened.push(client);
  return client;
}

run({
  open: async () => ({ first: await open(), second: await open() }),
  call: (client, args) => client.sendCommand(args),
  binary: (client, args) => client.sendCommand(args, asBuffers),
  getName: (client) => client.clientGetName(),
  info: (client) => client.info('clients'),
  pipeline: (client, commands) => Promise.all(commands.map((args) => client.sendCommand(args))),
  async strings(client) {
    const once = major >= 5
      ? { condition: 'NX', expiration: { type: 'PX', value: 600000 } }
      : { NX: true, PX: 600000 };
    expect((await client.set('lock', 'mine', once)) === 'OK', 'SET NX PX');
    expect((await client.set('lock', 'yours', once)) === null, 'a second SET NX');
    expect((await client.get('lock')) === 'mine' && (await client.pTTL('lock')) > 0, 'GET, PTTL');
    expect((await client.del('lock')) === 1 && (await client.exists('lock')) === 0, 'DEL, EXISTS');
    const keys = [];
    for await (const found of client.scanIterator({ MATCH: 'order-*' })) {
      keys.push(...[].concat(found)); // a key in 4, some keys since 5
    }
    expect(keys.join() === 'order-1', keys);
  },
  transaction: (client) => client.multi().set('t', '1').get('t').del('t').exec(),
  async listeners(client, channel) {
    return (await client.sendCommand(['PUBSUB', 'NUMSUB', channel]))[1];
  },
  async listen(client, channel, onMessage) {
    await client.subscribe(channel, onMessage);
    return () => client.unsubscribe(channel);
  },
  close: () => opened.forEach((client) => (major >= 5 ? client.destroy() : client.disconnect())),
});
