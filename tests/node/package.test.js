// The package as a user gets it: installed without a build, its README, its types.
'use strict';

const assert = require('node:assert/strict');
const { execFile, spawn } = require('node:child_process');
const { once } = require('node:events');
const { mkdtempSync, mkdirSync, readFileSync, rmSync, writeFileSync } = require('node:fs');
const net = require('node:net');
const os = require('node:os');
const path = require('node:path');
const test = require('node:test');
const { promisify } = require('node:util');
const { ROOT, PACKAGES, Server, until, post } = require('./world.js');

const run = promisify(execFile);
const options = { timeout: 300_000 }; // one of them asks a registry
const HOME = path.join(ROOT, 'client/node');
const README = readFileSync(path.join(HOME, 'README.md'), 'utf8');
const { checked } = require(path.join(HOME, 'lib/settings.js'));

/* The snippet after <!-- run: NAME -->. */
function snippet(name) {
  const found = new RegExp(`<!-- run: ${name} -->\n\`\`\`js\n([^]*?)\n\`\`\``).exec(README);
  assert.ok(found, `README.md has no snippet '${name}'`);
  return found[1];
}

async function freePort() {
  const server = net.createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address();
  server.close();
  await once(server, 'close');
  return port;
}

let idem;
test.before(async () => { idem = await new Server().start(); });
test.after(() => idem.stop());

/* Runs a program of the README in a directory, with its two ports replaced; answers its port. */
async function program(t, directory, text) {
  const port = await freePort();
  const file = path.join(directory, `snippet-${port}.js`);
  assert.match(text, /\b3000\b/);
  writeFileSync(file, text.replaceAll('4336', String(idem.port)).replace(/\b3000\b/, String(port)));
  const child = spawn(process.execPath, [file], { cwd: directory, stdio: ['ignore', 'inherit', 'inherit'] });
  t.after(() => {
    child.kill();
    rmSync(file, { force: true });
  });
  await until(async () => {
    assert.equal(child.exitCode, null, 'the program has ended');
    return await answers(port);
  }, 'a program that listens');
  return port;
}

const answers = (port) => new Promise((resolve) => {
  const socket = net.connect(port, '127.0.0.1', () => {
    socket.end();
    resolve(true);
  }).on('error', () => resolve(false));
});

async function pays(port, key) {
  const first = await post(port, '/payments', key, { body: '{"amount": 5}' });
  const again = await post(port, '/payments', key, { body: '{"amount": 5}' });
  const other = await post(port, '/payments', key, { body: '{"amount": 6}' });
  assert.deepEqual([first.status, first.text, first.headers['idempotent-replayed']], [201, '{"charged":5}', undefined]);
  assert.deepEqual([again.status, again.text, again.headers['idempotent-replayed']], [201, '{"charged":5}', 'true']);
  assert.equal(other.status, 422);
}

test('npm install of this directory in an empty one, then the first lines of the README', options, async (t) => {
  const directory = mkdtempSync(path.join(os.tmpdir(), 'idem-node-'));
  t.after(() => rmSync(directory, { recursive: true, force: true }));
  const { dependencies } = versions('express', 'ioredis');
  await run('npm', ['install', '--no-audit', '--no-fund', '--ignore-scripts', HOME, ...dependencies], { cwd: directory });
  await pays(await program(t, directory, snippet('express')), 'fresh');
});

function versions(...wanted) {
  const lines = readFileSync(path.join(ROOT, 'tests/http/node/packages'), 'utf8').split('\n');
  return { dependencies: lines.filter((line) => wanted.includes(line.replace(/@[^@]*$/, ''))) };
}

for (const name of ['express', 'fastify', 'koa', 'hono']) {
  test(`README: ${name}`, options, async (t) => {
    const directory = path.join(PACKAGES, 'snippets');
    mkdirSync(directory, { recursive: true });
    await pays(await program(t, directory, snippet(name)), name);
  });
}

test('README: a route with settings of its own', options, async (t) => {
  const directory = path.join(PACKAGES, 'snippets');
  const around = ["const app = require('express')(); const { idempotency } = require('idem-node/express');",
    "const pay = (req, res) => res.json({ hold: Boolean(req.idempotency) });",
    snippet('routes'), 'app.post("/others", pay); app.listen(3000);'].join('\n');
  const port = await program(t, directory, around);
  assert.equal((await post(port, '/payments', null)).status, 400);
  assert.equal((await post(port, '/others', null)).text, '{"hold":false}');
  assert.equal((await post(port, '/payments', 'route')).text, '{"hold":true}');
});

test('README: a client of your own', options, async (t) => {
  const around = ["const express = require('express'); const app = express(); const { idempotency } = require('idem-node/express');",
    snippet('client'), "app.use(express.json()); app.post('/payments', (req, res) => res.status(201).json({ charged: req.body.amount }));",
    "client.once('ready', () => app.listen(3000));"].join('\n');
  await pays(await program(t, path.join(PACKAGES, 'snippets'), around), 'client');
});

test('README: a job', options, async () => {
  const directory = path.join(PACKAGES, 'snippets');
  mkdirSync(directory, { recursive: true });
  const file = path.join(directory, 'job.js');
  const around = `(async () => { let charged = 0; const bankIsOpen = async () => true;
    const charge = async ({ amount }, { fencing }) => { charged += 1; return { amount, fenced: fencing > 0 }; };
    ${snippet('job')}
    console.log(JSON.stringify([receipt, await pay({ id: 'order-1', amount: 5 }), charged])); pay.close(); })();`;
  writeFileSync(file, around);
  const { stdout } = await run(process.execPath, [file], { env: { ...process.env, IDEM_URL: idem.url } });
  assert.equal(stdout, '[{"amount":5,"fenced":true},{"amount":5,"fenced":true},1]\n');
});

test('README: the table of settings has each of them, with its default', () => {
  const table = /<!-- settings: begin -->([^]*?)<!-- settings: end -->/.exec(README)[1];
  const written = [...table.matchAll(/^\| `(\w+)` \| (.*?) \|/gm)].map(([, name, value]) => [name, value]);
  const shown = (value) => (value === null ? 'none' : typeof value === 'function' ? 'a function' : `\`${JSON.stringify(value)}\``);
  const { IDEM_URL: before } = process.env;
  delete process.env.IDEM_URL;
  const defaults = Object.entries(checked()).map(([name, value]) => [name, shown(value)]);
  if (before !== undefined) process.env.IDEM_URL = before;
  assert.deepEqual(written, defaults);
});

test('the types say what the README says', options, async () => {
  const directory = path.join(PACKAGES, 'types');
  mkdirSync(directory, { recursive: true });
  writeFileSync(path.join(directory, 'types.ts'), readFileSync(path.join(__dirname, 'types.ts')));
  const tsc = path.join(PACKAGES, 'node_modules/typescript/bin/tsc');
  const flags = ['--noEmit', '--strict', '--skipLibCheck', '--esModuleInterop', '--target', 'es2022', '--module', 'node16', '--allowUnreachableCode', 'true'];
  await run(process.execPath, [tsc, ...flags, 'types.ts'], { cwd: directory }).catch(({ stdout }) => assert.fail(stdout));
});

test('with node-redis alone it opens its connections with that', options, async (t) => {
  const directory = mkdtempSync(path.join(os.tmpdir(), 'idem-node-'));
  t.after(() => rmSync(directory, { recursive: true, force: true }));
  const modules = path.join(directory, 'node_modules');
  mkdirSync(modules);
  const isRun = (file) => !/\.(ts|map|md)$/.test(file); // the rest is most of it
  const link = (name, from) => require('node:fs').cpSync(from, path.join(modules, name), { recursive: true, filter: isRun });
  for (const name of ['redis', '@redis', 'cluster-key-slot', 'idem-node']) link(name, path.join(PACKAGES, 'node_modules', name));
  const text = `const { job } = require('idem-node'); const work = job({ name: 'a', key: () => 'alone' }, () => 'ran');
    work().then((result) => { console.log(result); work.close(); });`;
  writeFileSync(path.join(directory, 'a.js'), text);
  const { stdout } = await run(process.execPath, ['a.js'], { cwd: directory, env: { ...process.env, IDEM_URL: idem.url } });
  assert.equal(stdout, 'ran\n');
  rmSync(path.join(modules, 'redis'), { recursive: true });
  await assert.rejects(run(process.execPath, ['a.js'], { cwd: directory }), /install a Redis client/);
});
