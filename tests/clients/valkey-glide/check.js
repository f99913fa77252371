// valkey-glide: every step, with customCommand and the client's own methods. It multiplexes: what
// waits is a client of its own.
'use strict';
const glide = require('@valkey/valkey-glide');
const { run, expect, host, port, protocol } = require('../steps.js');

glide.Logger.init('off'); // it logs every error reply to standard output
const opened = [];

async function open(extra) {
  const client = await glide.GlideClient.createClient({
    addresses: [{ host, port }],
    clientName: 'node',
    protocol: protocol === 3 ? glide.ProtocolVersion.RESP3 : glide.ProtocolVersion.RESP2,
    requestTimeout: 600000, // longer than any WAIT here
    connectionBackoff: { numberOfRetries: 50, factor: 50, exponentBase: 1 },
    advancedConfiguration: { connectionTimeout: 60000 },
    ...extra,
  });
  opened.push(client);
  return client;
}

run({
  open: async () => ({ first: await open(), second: await open() }),
  call: (client, args) => client.customCommand(args),
  binary: (client, args) => client.customCommand(args, { decoder: glide.Decoder.Bytes }),
  getName: (client) => client.clientGetName(),
  info: (client) => client.customCommand(['INFO', 'clients']),
  async pipeline(client, commands) {
    const batch = new glide.Batch(false);
    commands.forEach((args) => batch.customCommand(args));
    return client.exec(batch, true);
  },
  async strings(client) {
    const expiry = { type: glide.TimeUnit.Milliseconds, count: 600000 };
    const once = { conditionalSet: 'onlyIfDoesNotExist', expiry };
    expect((await client.set('lock', 'mine', once)) === 'OK', 'SET NX PX');
    expect((await client.set('lock', 'yours', once)) === null, 'a second SET NX');
    expect((await client.get('lock')) === 'mine' && (await client.pttl('lock')) > 0, 'GET, PTTL');
    expect((await client.del(['lock'])) === 1 && (await client.exists(['lock'])) === 0,
        'DEL, EXISTS');
    const [, keys] = await client.scan('0', { match: 'order-*', count: 1000 });
    expect(keys.join() === 'order-1', keys);
  },
  transaction(client) {
    return client.exec(new glide.Batch(true).set('t', '1').get('t').del(['t']), true);
  },
  async listeners(client, channel) {
    const [found] = await client.pubsubNumSub([channel]);
    return found.numSub;
  },
  // Its pub/sub is for RESP3 alone, and subscriptions are part of how a client is made.
  listen: protocol === 3 && (async (_, channel, onMessage) => {
    const { Exact } = glide.GlideClientConfiguration.PubSubChannelModes;
    const channelsAndPatterns = { [Exact]: new Set([channel]) };
    const callback = ({ message }) => onMessage(message);
    const listener = await open({ pubsubSubscriptions: { channelsAndPatterns, callback } });
    return () => listener.close();
  }),
  close: () => opened.forEach((client) => client.close()),
});
