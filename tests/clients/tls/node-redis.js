// node-redis over TLS.
'use strict';
const { createClient } = require('redis');
const { run, host } = require('./steps.js');

run({
  async open(port, tls) {
    const client = createClient({ socket: { host, port, tls: true, reconnectStrategy: false, ...tls } });
    client.on('error', () => {}); // the command says it
    await client.connect();
    return client;
  },
  call: (client, args) => client.sendCommand(args),
  close: (client) => client.destroy(),
});
