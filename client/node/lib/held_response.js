/*
 * held_response.js - a ServerResponse (node:http, or node:http2's compatibility API) whose bytes are held back until
 * the response is stored.
 *
 *     HELD --- end() ---> SETTLING ---> OPEN: everything passes
 *       \--- over the limit, or events ---> FLOWING: bytes pass, the end waits until "not kept" is stored
 *
 * Until it is OPEN the handler sees a response that has been sent as far as it has written it (headersSent, writableEnded),
 * and does not see that the client leaves: the work goes on. What other middleware has put in place of
 * res.write and its kin before stays below, what is put there later stays above: neither is lost.
 */
'use strict';

const { OutgoingMessage } = require('node:http');
const { BODILESS, isEvents } = require('./body.js');
const { storable } = require('./meta.js');

const HELD = 'held';
const SETTLING = 'settling';
const FLOWING = 'flowing';
const OPEN = 'open';

const METHODS = ['writeHead', 'write', 'end', 'flushHeaders', 'setHeader', 'appendHeader', 'removeHeader', 'destroy', 'emit'];
const BELOW = ['_implicitHeader', '_send']; // of node:http: all that is sent comes through one of these
const PASSING = ['writeContinue', 'writeProcessing', 'writeEarlyHints']; // 1xx: passes, is not stored
const FAILED = { status: 500, headers: [['content-type', 'text/plain; charset=utf-8']], body: 'Internal Server Error\n' };

const bytesOf = (chunk, encoding) => (typeof chunk === 'string' ? Buffer.from(chunk, encoding) : Buffer.from(chunk));

/* Where res has its socket: in itself, or (since Node 22) behind a property of its prototype. */
function socketOf(res) {
  if (!Object.hasOwn(res, 'socket')) {
    const prototype = Object.getPrototypeOf(res);
    return {
      get: () => Reflect.get(prototype, 'socket', res),
      set: (socket) => Reflect.set(prototype, 'socket', socket, res),
      show: () => delete res.socket,
    };
  }
  let { socket } = res;
  return {
    get: () => socket,
    set: (other) => { socket = other; },
    show: () => Object.defineProperty(res, 'socket', { value: socket, writable: true, configurable: true, enumerable: true }),
  };
}

function headersSentError(method) {
  const error = new Error(`Cannot ${method} headers after they are sent to the client`);
  error.code = 'ERR_HTTP_HEADERS_SENT';
  return error;
}

function invalidStatusError(status) {
  const error = new RangeError(`Invalid status code: ${status}`);
  error.code = 'ERR_HTTP_INVALID_STATUS_CODE';
  return error;
}

/* The headers that writeHead() takes: an object, a list of pairs, or names and values in turn. */
function pairsOf(headers) {
  if (!Array.isArray(headers)) return Object.entries(headers ?? {}).filter(([, value]) => value !== undefined);
  if (Array.isArray(headers[0])) return headers;
  return headers.flatMap((name, i) => (i % 2 === 0 ? [[name, headers[i + 1]]] : []));
}

/* Each name replaces what res has of it; a name that comes more than once has several values. */
function setHeaders(res, pairs) {
  const all = new Map();
  for (const [name, value] of pairs) all.set(name, [...(all.get(name) ?? []), value].flat());
  for (const [name, values] of all) res.setHeader(name, values.length > 1 ? values : values[0]);
}

/* Something else has answered, a time-out for example. */
const isSent = (res) => res.headersSent || res.writableEnded;

/* An answer of begin(), as the whole response. */
function send(res, { status, headers, body }) {
  res.statusCode = status;
  setHeaders(res, headers);
  if (BODILESS.has(status)) res.end();
  else res.end(body);
}

class HeldResponse {
  #res;
  #grant;
  #settings;
  #log;
  #real = {}; // the methods below this one
  #before; // the headers at the time of the claim
  #state = HELD;
  #head = null; // {status, headers} when the handler has sent them
  #chunks = [];
  #size = 0;
  #ended = false; // the handler has called end()
  #left = false; // the client has
  #isElsewhere = false; // something else has answered, below: what is written here is neither sent nor kept
  #socket = null; // of socketOf(); none over HTTP/2

  constructor(res, grant, { settings, log }) {
    this.#res = res;
    this.#grant = grant;
    this.#settings = settings;
    this.#log = log;
    this.#before = { ...res.getHeaders() };
    for (const name of [...METHODS, ...PASSING]) {
      if (typeof res[name] !== 'function') continue; // appendHeader came with Node 18.3
      this.#real[name] = res[name];
      res[name] = (...args) => this[name](...args);
    }
    for (const name of PASSING) {
      if (this.#real[name]) this[name] = (...args) => this.#pass(name, ...args);
    }
    this.#lookBelow();
    this.#shelter();
    if (res.destroyed || res.stream?.destroyed) this.#leave(); // while the server was asked
  }

  get #holds() {
    return this.#state === HELD || this.#state === SETTLING;
  }

  get #wasSent() {
    return Reflect.get(Object.getPrototypeOf(this.#res), 'headersSent', this.#res);
  }

  get isSentElsewhere() {
    return this.#isElsewhere;
  }

  #call(name, ...args) {
    return this.#real[name].apply(this.#res, args);
  }

  #show(name, get, set) {
    Object.defineProperty(this.#res, name, { configurable: true, enumerable: true, get, set });
  }

  // ---- what something else does below, with functions that it had kept: a time-out that answers, for example ----

  #lookBelow() {
    const res = this.#res;
    for (const name of BELOW) {
      const own = res[name];
      if (typeof own !== 'function') continue; // over HTTP/2 there is none
      res[name] = (...args) => {
        if (this.#holds) this.#stepAside();
        // It would call our writeHead().
        return name === '_implicitHeader' && this.#isElsewhere ? this.#call('writeHead', res.statusCode) : own.apply(res, args);
      };
    }
  }

  #stepAside() {
    this.#isElsewhere = true;
    this.#showSocket();
  }

  // ---- what the handler sees ----

  #shelter() {
    const res = this.#res;
    this.#show('headersSent', () => (this.#holds ? this.#isElsewhere || this.#head !== null : this.#wasSent));
    this.#show('writableEnded', () => this.#ended); // also when something else has answered: Fastify would not say what its handler does
    // The package on-finished, with which Express and Koa end streams when the client has left, looks at the socket,
    // and keeps its listeners in a list that middleware outside may have begun.
    if (!(res instanceof OutgoingMessage)) return; // HTTP/2
    this.#socket = socketOf(res);
    delete res.__onFinished;
    this.#show('socket', () => (this.#state === OPEN ? this.#socket.get() : null), this.#socket.set);
  }

  /* Node looks at res.socket when it writes. What a client that has left would get is dropped. */
  #pass(name, ...args) {
    if (this.#left || this.#isElsewhere) {
      const callback = args.findLast((arg) => typeof arg === 'function');
      if (callback) process.nextTick(callback);
      return true;
    }
    const state = this.#state;
    this.#state = OPEN;
    try {
      return this.#call(name, ...args);
    } finally {
      this.#state = state;
    }
  }

  /* From here on everything passes. What was put above stays there and finds our functions, which only pass. */
  #open() {
    if (this.#state === OPEN) return;
    const res = this.#res;
    this.#state = OPEN;
    for (const name of ['headersSent', 'writableEnded']) delete res[name];
    this.#showSocket();
    if (this.#left) this.#hasLeft();
  }

  #showSocket() {
    this.#socket?.show();
  }

  #hasLeft() {
    const res = this.#res;
    if (Object.hasOwn(res, 'destroyed')) res.destroyed = true;
    res._closed = true;
    this.#call('emit', 'close');
  }

  emit(event, ...args) {
    if (this.#state === OPEN || this.#isElsewhere) return this.#call('emit', event, ...args);
    if (event === 'close') return this.#leave();
    if (event === 'finish') return true; // HTTP/2 says so when the client has left
    return this.#call('emit', event, ...args);
  }

  #leave() {
    this.#left = true;
    // Node has set them; pipe() and pipeline() would stop the work that writes to us.
    if (Object.hasOwn(this.#res, 'destroyed')) this.#res.destroyed = false;
    this.#res._closed = false;
    process.nextTick(() => this.#call('emit', 'drain')); // for who waits to write on
    return true;
  }

  // ---- headers ----

  #setter(name, args) {
    if (this.#holds && this.#head !== null) throw headersSentError(name === 'removeHeader' ? 'remove' : 'set');
    return this.#call(name, ...args);
  }

  setHeader(...args) { return this.#setter('setHeader', args); }
  appendHeader(...args) { return this.#setter('appendHeader', args); }
  removeHeader(...args) { return this.#setter('removeHeader', args); }

  writeHead(status, ...rest) {
    if (!this.#holds) return this.#pass('writeHead', status, ...rest);
    if (this.#head !== null) throw headersSentError('write');
    const code = status | 0; // as Node does: '201' is 201
    if (code < 100 || code > 999) throw invalidStatusError(status); // what is held is sent where nobody can be told
    const res = this.#res;
    res.statusCode = code;
    if (typeof rest[0] === 'string') res.statusMessage = rest.shift();
    setHeaders({ setHeader: (...args) => this.#call('setHeader', ...args) }, pairsOf(rest.pop()));
    this.#head = { status: res.statusCode, headers: { ...res.getHeaders() } };
    if (isEvents(res.getHeader('content-type'))) this.#flow();
    return res;
  }

  /* By the name on res, for middleware inside may have put a listener for the headers there. */
  #commit() {
    if (this.#head === null) this.#res.writeHead(this.#res.statusCode);
  }

  flushHeaders() {
    if (this.#state === HELD) this.#commit();
    if (!this.#holds) this.#pass('flushHeaders');
  }

  // ---- body ----

  write(chunk, encoding, callback) {
    if (this.#state === HELD) this.#commit(); // which lets events flow
    if (this.#state === FLOWING && this.#left && !this.#grant.hasTime) this.#giveUp();
    if (!this.#holds) return this.#pass('write', chunk, encoding, callback);
    const written = typeof encoding === 'function' ? encoding : callback;
    this.#keep(chunk, encoding);
    if (typeof written === 'function') process.nextTick(written);
    return this.#size > this.#settings.bodyLimit && this.#state === HELD ? this.#flow() : true;
  }

  /* Nobody reads what has no end, as events: now the handler hears that its client has left. */
  #giveUp() {
    this.#grant.raised();
    this.#open();
  }

  #keep(chunk, encoding) {
    if (this.#state !== HELD || chunk === null || chunk === undefined) return;
    const bytes = bytesOf(chunk, typeof encoding === 'string' ? encoding : undefined);
    this.#chunks.push(bytes);
    this.#size += bytes.length;
  }

  /* What is held is sent, the rest passes. Returns what write() does. */
  #flow() {
    this.#state = FLOWING;
    this.#pass('writeHead', this.#head.status);
    const chunks = this.#chunks.splice(0);
    return chunks.map((chunk) => this.#pass('write', chunk)).at(-1) ?? true;
  }

  end(chunk, encoding, callback) {
    if (typeof chunk === 'function') return this.end(null, null, chunk);
    if (typeof encoding === 'function') return this.end(chunk, null, encoding);
    const res = this.#res;
    if (this.#state === HELD) this.#commit();
    if (this.#state === OPEN) return this.#call('end', chunk, encoding ?? undefined, callback);
    if (this.#ended) return res;
    this.#ended = true;
    if (typeof callback === 'function') res.once('finish', callback);
    if (this.#state === FLOWING) this.#ends(this.#endFlow(chunk, encoding));
    else this.#endHeld(chunk, encoding);
    return res;
  }

  async #endFlow(chunk, encoding) {
    if (chunk !== null && chunk !== undefined) this.#pass('write', chunk, encoding ?? undefined);
    await this.#settle(null);
    this.#open();
    if (!this.#isElsewhere) this.#call('end');
  }

  #endHeld(chunk, encoding) {
    this.#keep(chunk, encoding);
    this.#state = SETTLING;
    this.#ends(this.#sendStored());
  }

  #settle(body) {
    const { status, headers } = this.#head;
    return this.#grant.answered(status, storable(headers, this.#before, this.#settings.dropHeaders), this.#isElsewhere ? null : body);
  }

  async #sendStored() {
    const body = BODILESS.has(this.#head.status) ? Buffer.alloc(0) : Buffer.concat(this.#chunks, this.#size);
    const other = await this.#settle(body.length > this.#settings.bodyLimit ? null : body);
    if (other !== null) return this.#replace(other);
    if (this.#isTooLate()) return;
    const { status } = this.#head;
    this.#open();
    this.#res.statusCode = status;
    this.#correctLength(body.length);
    if (body.length > 0) this.#call('end', body);
    else this.#call('end');
  }

  /* As the replays have it: of a wrong one the client would await what never comes, or take the rest for the next response. */
  #correctLength(length) {
    const res = this.#res;
    if (!BODILESS.has(res.statusCode) && res.hasHeader('content-length')) this.#call('setHeader', 'content-length', length);
  }

  /* Another answer than what the handler has written. */
  #replace(answer) {
    if (this.#isTooLate()) return;
    this.discard();
    this.#open();
    send(this.#res, answer);
  }

  #isTooLate() {
    if (!this.#isElsewhere) return false;
    this.#log.warn('something else has answered: the response is not sent');
    this.#open();
    return true;
  }

  /* Nobody awaits this end: what fails in it would end the process. */
  #ends(end) {
    end.catch((error) => this.#broken(error));
  }

  /* It is the handler's fault, or that of the setting `keep`: a 500 as long as nothing was sent, else the connection is cut. */
  async #broken(error) {
    const { status } = this.#head ?? {};
    this.#log.error(`a response ${status ?? ''} cannot be sent: ${error?.message ?? error}`);
    await this.#grant.raised(error);
    try {
      if (this.#state === FLOWING || this.#wasSent) return this.#cut();
      this.#replace(FAILED);
    } catch {
      this.#cut();
    }
  }

  #cut() {
    this.#open();
    this.#call('destroy');
  }

  // ---- other ends ----

  /* What was written is not to be sent: something else follows. */
  discard() {
    this.#chunks = [];
    this.#size = 0;
    this.#head = null;
    const res = this.#res;
    for (const name of res.getHeaderNames()) {
      if (!Object.hasOwn(this.#before, name)) this.#call('removeHeader', name);
    }
    for (const [name, value] of Object.entries(this.#before)) this.#call('setHeader', name, value);
    if (Object.hasOwn(res, 'statusMessage')) res.statusMessage = undefined; // over HTTP/2 there is none
  }

  /* A problem of this package stands for what the handler has written. */
  refuse(answer, error) {
    if (!this.#holds) return;
    this.#state = SETTLING;
    this.#ends(this.#grant.raised(error).then(() => this.#replace(answer)));
  }

  /* The handler has thrown. What flows is cut; what it has ended before is its answer. */
  fail(error) {
    if (this.#state === HELD) return this.refuse(FAILED, error);
    if (this.isSettling) return this.#log.error(`a handler has thrown after it had answered: ${error?.message ?? error}`);
    if (this.#state !== FLOWING) return;
    this.#grant.raised(error);
    this.#cut();
  }

  /* The framework sends the response by other means, and has told the grant. */
  release() {
    if (this.#holds) this.#open();
  }

  get isHeld() {
    return this.#state === HELD;
  }

  /* Its end was written, and is being stored. */
  get isSettling() {
    return this.#ended && this.#state !== OPEN;
  }

  /* The handler cuts the response off, as pipeline() does when its source fails. Of a held one nothing was sent, so it
   * can still be a clean 500. */
  destroy(error) {
    if (this.#state === HELD) this.fail(error);
    if (this.#holds) return this.#res;
    if (this.#state === FLOWING) {
      this.#grant.raised(error);
      this.#open();
    }
    return this.#call('destroy', error);
  }
}

module.exports = { HeldResponse, isSent, send };
