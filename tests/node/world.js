/* world.js - an idem server of its own for a test file, and the packages that tests/http/node/install has put there. */
'use strict';

const { spawn } = require('node:child_process');
const { once } = require('node:events');
const { mkdtempSync, rmSync } = require('node:fs');
const { createRequire } = require('node:module');
const os = require('node:os');
const path = require('node:path');
const readline = require('node:readline');

const ROOT = path.join(__dirname, '../..');
const PACKAGES = path.join(ROOT, 'build/http/node');
const PROGRAM = process.env.IDEM_SERVER ?? path.join(ROOT, 'build/release/idem-server');
const OURS = process.env.IDEM_TEST_PACKAGE; // another copy of the package than the installed one: a mutant
const installed = createRequire(path.join(PACKAGES, 'package.json'));
const need = (name) => (OURS && /^idem-node\b/.test(name) ? require(path.join(OURS, name.replace(/^idem-node/, ''))) : installed(name));
const lib = (name) => require(path.join(OURS ?? path.join(ROOT, 'client/node'), 'lib', name));
const LIMIT_MS = Number(process.env.IDEM_TEST_LIMIT_MS ?? 20_000); // ends what hangs, not what is slow

class Server {
  #process;
  #directory = mkdtempSync(path.join(os.tmpdir(), 'idem-node-'));

  async start(port = 0) {
    this.#process = spawn(PROGRAM, ['--port', String(port), '--bind', '127.0.0.1'], { cwd: this.#directory, stdio: ['ignore', 'pipe', 'pipe'] });
    const [lines, errors] = [this.#process.stdout, this.#process.stderr].map((input) => readline.createInterface({ input }));
    const seen = new Promise((resolve, reject) => {
      for (const source of [lines, errors]) {
        source.on('line', (line) => {
          const found = /ready to accept connections on 127\.0\.0\.1:(\d+)/.exec(line);
          if (found) resolve(Number(found[1]));
        });
      }
      this.#process.once('exit', () => reject(new Error('the idem server has ended')));
    });
    this.port = await seen;
    this.url = `redis://127.0.0.1:${this.port}`;
    return this;
  }

  pause() { this.#process.kill('SIGSTOP'); }
  resume() { this.#process.kill('SIGCONT'); }

  async kill() {
    this.#process.kill('SIGKILL');
    await once(this.#process, 'exit');
  }

  async stop() {
    this.resume();
    if (this.#process.exitCode === null && this.#process.signalCode === null) await this.kill();
    rmSync(this.#directory, { recursive: true, force: true });
  }
}

/* Resolves when check() is true; a condition that can be awaited otherwise should be. */
async function until(check, what) {
  const end = Date.now() + LIMIT_MS;
  while (!await check()) {
    if (Date.now() > end) throw new Error(`not seen in time: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

/* A POST as fetch() does it. */
async function post(port, target, key, { body = '{"a":1}', headers = {}, signal } = {}) {
  const response = await fetch(`http://127.0.0.1:${port}${target}`, {
    method: 'POST', body, signal, headers: { 'Content-Type': 'application/json', ...(key === null ? {} : { 'Idempotency-Key': key }), ...headers },
  });
  return { status: response.status, headers: Object.fromEntries(response.headers), text: await response.text() };
}

async function listening(server) {
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return server.address().port;
}

/* A logger that keeps what it is told. */
function memory() {
  const lines = [];
  return { lines, error: (text) => lines.push(`error ${text}`), warn: (text) => lines.push(`warn ${text}`) };
}

module.exports = { ROOT, PACKAGES, LIMIT_MS, need, lib, Server, until, post, listening, memory };
