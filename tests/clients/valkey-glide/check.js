// valkey-glide: every step, with customCommand and the client's own methods. It multiplexes: what waits is a client of its own.
'use strict';
const { Batch, Decoder, GlideClient, GlideClientConfiguration, Logger, ProtocolVersion, TimeUnit } = require('@valkey/valkey-glide');
const { run, expect, host, port, protocol } = require('../steps.js');

Logger.init('off'); // it logs every error reply to standard output
const opened = [];

async function open(extra) {
  const client = await GlideClient.createClient({
    addresses: [{ host, port }],
    clientName: 'node',
    protocol: protocol === 3 ? ProtocolVersion.RESP3 : ProtocolVersion.RESP2,
    requestTimeout: 30000, // longer than any WAIT here
    connectionBackoff: { numberOfRetries: 50, factor: 50, exponentBase: 1 },
    ...extra,
  });
  opened.push(client);
  return client;
}

// A map comes as an array of {key, value}; an INFO or a bulk string as a string or a Buffer.
run({
  open: async () => ({ first: await open(), second: await open() }),
  call: (client, args) => client.customCommand(args),
  binary: (client, args) => client.customCommand(args, { decoder: Decoder.Bytes }),
  getName: (client) => client.clientGetName(),
  info: (client) => client.customCommand(['INFO', 'clients']),
  async pipeline(client, commands) {
    const batch = new Batch(false);
    commands.forEach((args) => batch.customCommand(args));
    return client.exec(batch, true);
  },
  async strings(client) {
    const once = { conditionalSet: 'onlyIfDoesNotExist', expiry: { type: TimeUnit.Milliseconds, count: 30000 } };
    expect((await client.set('lock', 'mine', once)) === 'OK', 'SET NX PX');
    expect((await client.set('lock', 'yours', once)) === null, 'a second SET NX');
    expect((await client.get('lock')) === 'mine' && (await client.pttl('lock')) > 0, 'GET, PTTL');
    expect((await client.del(['lock'])) === 1 && (await client.exists(['lock'])) === 0, 'DEL, EXISTS');
    const [, keys] = await client.scan('0', { match: 'order-*', count: 1000 });
    expect(keys.join() === 'order-1', keys);
  },
  transaction: (client) => client.exec(new Batch(true).set('t', '1').get('t').del(['t']), true),
  listeners: async (client, channel) => (await client.pubsubNumSub([channel])).find((found) => String(found.channel) === channel)?.numSub,
  // Its pub/sub is for RESP3 alone, and subscriptions are part of how a client is made.
  listen: protocol === 3 && (async (_, channel, onMessage) => {
    const channels = { [GlideClientConfiguration.PubSubChannelModes.Exact]: new Set([channel]) };
    const callback = ({ message }) => onMessage(message);
    const listener = await open({ pubsubSubscriptions: { channelsAndPatterns: channels, callback } });
    return () => listener.close();
  }),
  close: () => opened.forEach((client) => client.close()),
});
