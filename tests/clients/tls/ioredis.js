// ioredis over TLS.
'use strict';
const Redis = require('ioredis').Redis || require('ioredis');
const { run, host } = require('./steps.js');

run({
  async open(port, tls) {
    const client = new Redis({ host, port, tls, lazyConnect: true, retryStrategy: null,
      maxRetriesPerRequest: 0 });
    client.on('error', () => {}); // the command says it
    await client.connect();
    return client;
  },
  call: (client, [name, ...args]) => client.call(name, ...args),
  close: (client) => client.disconnect(),
});
