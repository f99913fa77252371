// The steps over TLS of the Node.js clients: `open(port, tls)` makes one, with tls as node's own
// options are.
'use strict';
const { readFileSync } = require('node:fs');

const file = (name) => readFileSync(process.env[`IDEM_TLS_${name}`]);
const port = Number(process.env.IDEM_PORT), asking = Number(process.env.IDEM_TLS_ASKING_PORT);
const trust = { ca: file('CA') };

exports.host = process.env.IDEM_HOST;

function expect(condition, what) {
  if (!condition) throw new Error(String(what));
}

async function step(name, run) {
  try {
    await run();
    console.log(`ok ${name}`);
  } catch (error) {
    console.log(`not ok ${name} ${String(error).replace(/\n/g, ' ')}`);
    process.exit(1);
  }
}

// adapter: open(port, tls) connects; call(client, args); close(client).
exports.run = async (adapter) => {
  const using = async (where, tls, use) => {
    const client = await adapter.open(where, tls);
    try {
      return await use((...args) => adapter.call(client, args));
    } finally {
      adapter.close(client);
    }
  };
  const pings = (where, tls) => using(where, tls, async (call) => {
    expect((await call('PING')) === 'PONG', 'no PONG');
  });
  const refused = async (where, tls) => {
    let answered = true;
    await pings(where, tls).catch(() => { answered = false; });
    expect(!answered, 'it was let in');
  };

  await step('connect', () => pings(port, trust));
  await step('claim', () => using(port, trust, async (call) => {
    const [status, token] = await call('IDEM.CLAIM', 'k', 'OWNER', 'a');
    expect(status === 'CLAIMED', status);
    const body = 'x'.repeat(100000);
    await call('IDEM.STORE', 'k', String(token), body);
    expect((await call('IDEM.CLAIM', 'k'))[1] === body, 'another body');
  }));
  await step('stranger', () => refused(port, { ca: file('OTHER_CA') }));
  await step('certificate', () => pings(asking, { ...trust, cert: file('CERT'), key: file('KEY') }));
  await step('without', () => refused(asking, trust));
  process.exit(0);
};
