/* suite.js - what a file of tests has: an idem server, applications on it, requests that the test holds in its hands. */
'use strict';

const http = require('node:http');
const net = require('node:net');
const { LIMIT_MS, need, Server, listening, memory } = require('./world.js');

const express = need('express');
const forExpress = need('idem-node/express');

const options = { timeout: LIMIT_MS };
const names = (events) => events.map(([name]) => name);

/* Connections of an application of this process that are still open at its side. */
const openSockets = (port) => process._getActiveHandles()
  .filter((handle) => handle instanceof net.Socket && handle.localPort === port && !handle.destroyed).length;

/* A raw request; returns the socket. */
function rawPost(port, key, body = '{}') {
  const socket = net.connect(port, '127.0.0.1');
  socket.on('error', () => {});
  socket.write(`POST /work HTTP/1.1\r\nHost: x\r\nIdempotency-Key: ${key}\r\nContent-Type: application/json\r\nContent-Length: ${body.length}\r\n\r\n${body}`);
  return socket;
}

/* A handler that the test lets go on: `running` resolves when it runs. */
function gate() {
  const all = [];
  let seen;
  let running = new Promise((resolve) => { seen = resolve; });
  return {
    enter: () => new Promise((resolve) => {
      all.push(resolve);
      seen();
      running = new Promise((next) => { seen = next; });
    }),
    get running() { return running; },
    leave: () => all.shift()(),
  };
}

/* test: of node:test; the server starts before the file's first test, and ends after its last. */
module.exports = function suite(test) {
  let idem;
  let number = 0;
  const closing = [];

  test.before(async () => { idem = await new Server().start(); });
  test.after(async () => {
    for (const close of closing) await close();
    await idem.stop();
  });

  /* Settings for one test: records of its own, and what it saw. */
  function world(more = {}) {
    const events = [];
    number += 1;
    return { events, settings: { url: idem.url, prefix: `t${number}`, logger: memory(), onEvent: (name, fields) => events.push([name, fields]), ...more } };
  }

  /* A server of its own, for it is paused. */
  async function pausable(t, more = {}) {
    const server = await new Server().start();
    t.after(() => server.stop());
    return { server, ...world({ url: server.url, timeoutMs: 150, ...more }) };
  }

  /* What listens to requests, as a server; returns its port. */
  async function served(listener, close = () => {}) {
    const server = http.createServer(listener);
    const port = await listening(server);
    closing.push(() => {
      server.closeAllConnections();
      server.close();
      return close();
    });
    return port;
  }

  /* An Express application with one handler for POST /work; returns its port. */
  function application(settings, handler, { outside = [], inside = [] } = {}) {
    const app = express();
    app.set('env', 'test');
    const guard = forExpress.idempotency(settings);
    for (const middleware of [...outside, guard, ...inside]) app.use(middleware);
    app.post('/work', handler);
    app.use(forExpress.idempotency.errors);
    return served(app, () => guard.close());
  }

  return { options, server: () => idem, world, names, application, served, rawPost, gate, openSockets, pausable, closing };
};
