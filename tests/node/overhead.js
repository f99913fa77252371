/*
 * overhead.js [SECONDS] - what the middleware costs a request, beside the bare framework. Prints a table.
 *
 * Each framework runs in a process of its own and answers a JSON POST; this process sends, over CONNECTIONS connections that
 * are kept alive. Processor time is that of the framework's process alone, per request; the latency is that of one request
 * at a time. The idem server is one of its own, without a journal.
 */
'use strict';

const { spawn } = require('node:child_process');
const http = require('node:http');
const readline = require('node:readline');
const { need, Server } = require('./world.js');

const SECONDS = Number(process.argv[2] ?? 2); // of each measurement
const CONNECTIONS = 16;
const FRAMEWORKS = ['express', 'fastify', 'koa', 'hono'];
const BODY = JSON.stringify({ amount: 5, currency: 'EUR', to: 'somebody' });

// ---- the framework's process ----

const answer = { id: 'payment-1', charged: 5, currency: 'EUR' };
const APPLICATIONS = {
  async express(settings) {
    const express = need('express');
    const { idempotency } = need('idem-node/express');
    const app = express();
    if (settings) app.use(idempotency(settings));
    app.use(express.json());
    app.post('/work', (req, res) => res.status(201).json(answer));
    if (settings) app.use(idempotency.errors);
    return http.createServer(app);
  },
  async fastify(settings) {
    const app = need('fastify')();
    if (settings) await app.register(need('idem-node/fastify').idempotency, settings);
    app.post('/work', async (request, reply) => reply.code(201).send(answer));
    await app.ready();
    return app.server;
  },
  async koa(settings) {
    const app = new (need('koa'))();
    if (settings) app.use(need('idem-node/koa').idempotency(settings));
    app.use(need('koa-bodyparser')());
    app.use((ctx) => {
      ctx.status = 201;
      ctx.body = answer;
    });
    return http.createServer(app.callback());
  },
  async hono(settings) {
    const { Hono } = need('hono');
    const app = new Hono();
    if (settings) app.use(need('idem-node/hono').idempotency(settings));
    app.post('/work', async (c) => {
      await c.req.json();
      return c.json(answer, 201);
    });
    return need('@hono/node-server').createAdaptorServer({ fetch: app.fetch });
  },
};

async function serve(name, url) {
  const server = await APPLICATIONS[name](url && { url });
  server.listen(0, '127.0.0.1', () => console.log(server.address().port));
  // Each line that comes is answered with the processor time so far, in microseconds.
  readline.createInterface({ input: process.stdin }).on('line', () => {
    const { user, system } = process.cpuUsage();
    console.log(user + system);
  }).on('close', () => process.exit());
}

// ---- the sender ----

class Application {
  constructor(name, url) {
    this.child = spawn(process.execPath, [__filename, 'serve', name, url ?? ''], { stdio: ['pipe', 'pipe', 'inherit'] });
    this.lines = readline.createInterface({ input: this.child.stdout })[Symbol.asyncIterator]();
  }

  async line() {
    return Number((await this.lines.next()).value);
  }

  cpu() {
    this.child.stdin.write('\n');
    return this.line();
  }
}

function send(port, agent, key) {
  return new Promise((resolve, reject) => {
    const headers = { 'Content-Type': 'application/json', 'Content-Length': BODY.length, ...(key ? { 'Idempotency-Key': key } : {}) };
    const request = http.request({ port, agent, path: '/work', method: 'POST', headers }, (response) => {
      response.resume().on('end', () => (response.statusCode === 201 ? resolve() : reject(new Error(`status ${response.statusCode}`))));
    });
    request.on('error', reject).end(BODY);
  });
}

let keys = 0;
const KEYS = { none: () => null, fresh: () => `${process.pid}-${keys += 1}`, same: () => `${process.pid}-same` };

/* For so many seconds, over so many connections. Returns requests and milliseconds. */
async function load(port, key, connections, seconds) {
  const agent = new http.Agent({ keepAlive: true, maxSockets: connections });
  const end = performance.now() + seconds * 1000;
  const began = performance.now();
  let requests = 0;
  const loop = async () => {
    while (performance.now() < end) {
      await send(port, agent, KEYS[key]());
      requests += 1;
    }
  };
  await Promise.all(Array.from({ length: connections }, loop));
  agent.destroy();
  return { requests, ms: performance.now() - began };
}

async function measure(application, port, key) {
  await load(port, key, 1, SECONDS / 8); // alone first: what is replayed later has run then
  await load(port, key, CONNECTIONS, SECONDS / 4); // the compiler
  const before = await application.cpu();
  const many = await load(port, key, CONNECTIONS, SECONDS);
  const cpu = (await application.cpu()) - before;
  const one = await load(port, key, 1, SECONDS / 2);
  return { cpu: cpu / many.requests, latency: (one.ms * 1000) / one.requests };
}

async function main() {
  const idem = await new Server().start();
  console.log('| | processor time of a request, us | one at a time, us |');
  console.log('| --- | --- | --- |');
  for (const name of FRAMEWORKS) {
    const rows = [[name, null, 'none'], [`${name}, guarded, no key`, idem.url, 'none'], [`${name}, guarded, runs`, idem.url, 'fresh'], [`${name}, guarded, replayed`, idem.url, 'same']];
    for (const [title, url, key] of rows) {
      const application = new Application(name, url);
      const { cpu, latency } = await measure(application, await application.line(), key);
      console.log(`| ${title} | ${cpu.toFixed(0)} | ${latency.toFixed(0)} |`);
      application.child.stdin.end();
    }
  }
  await idem.stop();
}

if (process.argv[2] === 'serve') serve(process.argv[3], process.argv[4]);
else main();
