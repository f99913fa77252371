// ioredis 5 and 6: every step, with call, callBuffer and the client's own methods.
'use strict';
const Redis = require('ioredis').Redis || require('ioredis');
const { run, expect, host, port, protocol, major } = require('../steps.js');

const opened = [];

async function open() {
  const client = new Redis({
    host, port, connectionName: 'node', lazyConnect: true, retryStrategy: () => 50,
    ...(major >= 6 ? { protocol } : {}),
  });
  client.on('error', () => {}); // the restart; a command that fails says so itself
  await client.connect();
  opened.push(client);
  return client;
}

run({
  open: async () => ({ first: await open(), second: await open() }),
  call: (client, [name, ...args]) => client.call(name, ...args),
  binary: (client, [name, ...args]) => client.callBuffer(name, ...args),
  getName: (client) => client.client('GETNAME'),
  info: (client) => client.info('clients'),
  async pipeline(client, commands) {
    const replies = await client.pipeline(commands.map((args) => ['call', ...args])).exec();
    return replies.map(([error, reply]) => { if (error) throw error; return reply; });
  },
  async strings(client) {
    expect((await client.set('lock', 'mine', 'PX', 600000, 'NX')) === 'OK', 'SET NX PX');
    expect((await client.set('lock', 'yours', 'PX', 600000, 'NX')) === null, 'a second SET NX');
    expect((await client.get('lock')) === 'mine' && (await client.pttl('lock')) > 0, 'GET, PTTL');
    expect((await client.del('lock')) === 1 && (await client.exists('lock')) === 0, 'DEL, EXISTS');
    const keys = [];
    for await (const found of client.scanStream({ match: 'order-*' })) keys.push(...found);
    expect(keys.join() === 'order-1', keys);
  },
  async transaction(client) {
    return (await client.multi().set('t', '1').get('t').del('t').exec()).map(([error, reply]) => {
      if (error) throw error;
      return reply;
    });
  },
  listeners: async (client, channel) => (await client.pubsub('NUMSUB', channel))[1],
  async listen(client, channel, onMessage) {
    client.on('message', (from, message) => from === channel && onMessage(message));
    await client.subscribe(channel);
    return () => client.unsubscribe(channel);
  },
  close: () => opened.forEach((client) => client.disconnect()),
});
