/*
 * guard.js - one request with a key: is it the first, and what does another one get? The policy, written once for all
 * frameworks.
 *
 * An adapter asks begin() and does what the decision says: {grant} the handler runs, and the grant is told how that
 * ended; {answer} is sent instead: {status, headers: [[name, value], ...], body}; PASS: the handler runs unguarded.
 * It hands over a request as
 *     native               what the framework calls a request: given to the callbacks of the settings
 *     method, target       as they came; target with its mount point and query
 *     header(name)         the values of all lines with that name (in lower case)
 *     user()               whom the framework has authenticated: an id, or what has none that is known; null or undefined
 *                          when nobody
 *     pieces(limit)        the body for the fingerprint, one Buffer or several; throws TooLarge
 *     left()               an AbortSignal that is aborted when the client leaves
 */
'use strict';

const { createHash } = require('node:crypto');
const { Claiming } = require('./claiming.js');
const { BadKey, keyFromHeader, recordKey, bornOfKey, bornFromHeader } = require('./key.js');
const { emitter } = require('./events.js');
const { fingerprint } = require('./fingerprint.js');
const { Grant } = require('./grant.js');
const { named } = require('./log.js');
const { decoded } = require('./meta.js');
const { isText, msOf, pairOf, textOf } = require('./given.js');
const { problem } = require('./problem.js');
const { parsed } = require('./reply.js');
const { checked, otherStore } = require('./settings.js');
const { Shared } = require('./shared.js');
const { parsedTarget } = require('./target.js');

const NEVER_GUARDED = new Set(['GET', 'HEAD', 'OPTIONS', 'TRACE', 'CONNECT']); // safe by definition, whatever `methods` says

/* The body of the request is over requestLimit. */
class TooLarge extends Error {}

const PASS = Object.freeze({});

class Guard {
  #shared;
  #store;
  #claiming;

  constructor(settings, shared, store) {
    this.settings = settings;
    this.#shared = shared;
    this.#store = store;
    this.#claiming = new Claiming(store, settings);
  }

  /* logger: what the framework logs with, unless the settings have one. */
  static create(given, logger = null) {
    const settings = checked(given);
    const shared = new Shared(settings.logger ?? logger);
    return new Guard(settings, shared, shared.open(settings));
  }

  /* The same with other settings, for a route. Shares the connections, unless they are what differs. */
  with(given = {}) {
    const settings = checked(given, this.settings);
    return new Guard(settings, this.#shared, otherStore(given) ? this.#shared.open(settings) : this.#store);
  }

  /* Whether requests with that method can be guarded. */
  concerns(method) {
    return this.settings.methods.includes(method) && !NEVER_GUARDED.has(method);
  }

  get log() {
    return this.#shared.log;
  }

  close() {
    this.#shared.close();
  }

  async begin(request) {
    const { settings } = this;
    if (settings.skip !== null && await settings.skip(request.native)) return PASS;
    const values = request.header(settings.header.toLowerCase());
    if (values.length === 0 && !settings.required) return PASS;
    const emit = this.#emitter(request);
    if (values.length === 0) return this.#answer(emit, 'refused', 'key-missing', `Send a header ${settings.header} with a key of your choice.`);
    try {
      return await this.#claim(request, keyFromHeader(values), emit);
    } catch (error) {
      if (error instanceof BadKey) return this.#answer(emit, 'refused', 'key-malformed', `${settings.header}: ${error.message}.`);
      if (error instanceof TooLarge) return this.#answer(emit, 'refused', 'request-too-large', `With a key it may have ${settings.requestLimit} bytes.`);
      throw error;
    }
  }

  #answer(emit, event, type, detail, more) {
    const answer = problem(this.settings, type, detail, more);
    emit(event, { status: answer.status });
    return { answer };
  }

  async #claim(request, key, emit) {
    const asked = await this.#asked(request, key);
    try {
      return this.#decided(asked.record, await this.#claiming.ask(asked), emit);
    } catch (error) {
      return this.#refused(asked, error, emit);
    }
  }

  /* What the request asks, as the server is told. */
  async #asked(request, key) {
    const { settings } = this;
    const { path, query } = parsedTarget(request.target);
    const [method, operation] = settings.operation ? pairOf(await settings.operation(request.native)) : [request.method, path];
    const whole = query.length > 0 ? Buffer.concat([Buffer.from(operation), Buffer.from('?'), query]) : Buffer.from(operation);
    return {
      record: recordKey(settings.prefix, await this.#scope(request), method, operation, key),
      fingerprint: fingerprint(method, whole, await request.pieces(settings.requestLimit)),
      born: await this.#born(request, key),
      left: () => request.left(),
    };
  }

  async #scope(request) {
    const { scope } = this.settings;
    if (scope) {
      const given = await scope(request.native);
      return given === null || given === undefined ? null : textOf(given, 'scope has to give');
    }
    const user = request.user();
    if (isText(user)) return textOf(user);
    const [authorization] = request.header('authorization');
    if (authorization !== undefined) return createHash('sha256').update(authorization, 'latin1').digest('hex');
    // A caller that is known, but not by what: nobody else is to get that caller's responses.
    if (user !== null && user !== undefined) return textOf(user, "set scope: a user's id has to be");
    if (request.header('cookie').length > 0) {
      this.log.warnOnce('cookies come, but no user is seen: set scope, or one user can get the response of another');
    }
    return null;
  }

  async #born(request, key) {
    const { born } = this.settings;
    if (born === null) return null;
    if (born === 'uuid7') return bornOfKey(key);
    if (typeof born === 'function') return msOf(await born(request.native));
    const [value] = request.header(born.toLowerCase());
    return value === undefined ? null : bornFromHeader(value);
  }

  #decided(record, reply, emit) {
    const { settings, log } = this;
    switch (reply.status) {
      case 'CLAIMED': {
        emit('claimed', { attempt: reply.attempt });
        const replay = (other) => this.#decided(record, other, emit).answer;
        const context = { store: this.#store, log, settings, emit, replay };
        return { grant: new Grant(context, record, reply) };
      }
      case 'DONE':
        return this.#done(record, reply, emit);
      case 'BUSY':
        return this.#busy(emit);
      case 'UNKNOWN':
        return this.#answer(emit, 'unknown', 'outcome-unknown', 'It is not run again until somebody has looked.');
      case 'FORGOTTEN':
        return this.#answer(emit, 'forgotten', 'forgotten', 'It is so old that its response may be forgotten. Look before you send it with a new key.');
      default:
        throw new Error(`a CLAIM was answered ${reply.status}`);
    }
  }

  #busy(emit) {
    return this.#answer(emit, 'in_progress', 'in-progress', 'Send it again later, with the same key.', { status: this.settings.busyStatus });
  }

  #done(record, { body, meta }, emit) {
    const head = decoded(meta);
    if (head === null) throw new Error(`${named(record)} is no response, or of another version`);
    if (head.headers === null) {
      return this.#answer(emit, 'not_kept', 'response-not-kept', 'It cannot be shown again; the request is not run again.', { original_status: head.status });
    }
    emit('replayed', { status: head.status });
    return { answer: { status: head.status, headers: [...head.headers, ['idempotent-replayed', 'true']], body } };
  }

  #refused(asked, error, emit) {
    const { settings, log } = this;
    if (error.code === 'MISMATCH') return this.#answer(emit, 'mismatch', 'key-reused', 'Method, path, query and body have to be those of the first request.');
    if (error.code === 'BUSYKEY') return this.#busy(emit);
    if (asked.born !== null && error.code === 'ERR' && /BORN/.test(error.message)) {
      throw new BadKey('the time of the first try is in the future');
    }
    if (settings.failOpen) {
      log.refused(`${named(asked.record)} runs unguarded: ${error.message}`);
      emit('fail_open', {});
      return PASS;
    }
    log.refused(`${named(asked.record)} is refused: ${error.message}`);
    return this.#answer(emit, 'unavailable', 'unavailable', 'Nothing was run. Send it again later, with the same key.');
  }

  #emitter(request) {
    return emitter(this.settings, this.log, request.method, () => parsedTarget(request.target).path.toString());
  }
}

module.exports = { Guard, TooLarge };
