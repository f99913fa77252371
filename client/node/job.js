/*
 * job.js - a wrapper for handlers of jobs: BullMQ, SQS, cron, or whatever calls a function again when it has failed.
 *
 *     const pay = job({ name: 'pay', key: (job) => job.id, hold: true }, async (job, claim) => { ... });
 *
 * The name is required, and not taken from the function: bundlers and refactoring change that, and then what ran would run
 * again. The first call runs the work and stores its result (as JSON); every other one gets that result. Work that raises may
 * have acted, so the next call is attempt 2, or with `hold` OutcomeUnknown; DidNothing says that it did not.
 */
'use strict';

const { Claiming } = require('./lib/claiming.js');
const { emitter } = require('./lib/events.js');
const { fingerprint, parsedPieces } = require('./lib/fingerprint.js');
const { DidNothing, Grant } = require('./lib/grant.js');
const { isText, msOf } = require('./lib/given.js');
const { jobRecord } = require('./lib/key.js');
const { named } = require('./lib/log.js');
const { checked, TEXT_LIMIT } = require('./lib/settings.js');
const { Shared } = require('./lib/shared.js');

const SETTINGS = ['url', 'client', 'prefix', 'waitMs', 'maxWaiting', 'leaseMs', 'renewForMs', 'ttlMs', 'hold', 'timeoutMs',
  'onEvent', 'logger'];
const CALLBACKS = ['key', 'input', 'born'];
const META = '[1,"job"]';
const META_NOT_KEPT = '[1,"job",null]';
const NEVER_LEFT = new AbortController().signal;

/* The work was not run by this call. retryable: another call may run it or get its result. */
class NotRun extends Error {
  constructor(message, retryable = false) {
    super(message);
    this.name = this.constructor.name;
    this.retryable = retryable;
  }
}
class InProgress extends NotRun {}
class KeyReused extends NotRun {}
class OutcomeUnknown extends NotRun {}
class Forgotten extends NotRun {}
class NotKept extends NotRun {}
class Unavailable extends NotRun {}

function callbacksOf(settings) {
  if (typeof settings?.key !== 'function') throw new TypeError("idem: setting 'key' has to be a function: which of its arguments names the job?");
  for (const name of CALLBACKS) {
    if (settings[name] !== undefined && typeof settings[name] !== 'function') throw new TypeError(`idem: setting '${name}' has to be a function`);
  }
  return { key: settings.key, input: settings.input ?? null, born: settings.born ?? null };
}

function nameOf({ name }) {
  if (typeof name !== 'string' || name === '' || name.length > TEXT_LIMIT) {
    throw new TypeError(`idem: setting 'name' has to be a text of 1 to ${TEXT_LIMIT} characters: two jobs may have equal keys`);
  }
  return name;
}

function settingsOf(settings) {
  const others = Object.entries(settings).filter(([name]) => name !== 'name' && !CALLBACKS.includes(name));
  const unknown = others.find(([name]) => !SETTINGS.includes(name));
  if (unknown) throw new TypeError(`idem: job() has no setting '${unknown[0]}'; it has ${['name', ...CALLBACKS, ...SETTINGS].join(', ')}`);
  return checked({ prefix: 'job', ...Object.fromEntries(others) });
}

function refusalOf(error) {
  if (error.code === 'MISMATCH') return new KeyReused('the key was used for another input');
  if (error.code === 'BUSYKEY') return new InProgress('too many wait for it already', true);
  return new Unavailable(`it is not known whether it may run: ${error.message}`, true);
}

/* What a reply of CLAIM says to a job that may not run, or its result. */
function resultOf(record, { status, body, meta }) {
  switch (status) {
    case 'DONE':
      if (meta === META) return body.length > 0 ? JSON.parse(body) : undefined;
      if (meta === META_NOT_KEPT) throw new NotKept('it has run, but its result is not kept');
      throw new Unavailable(`${named(record)} is no job, or of another version`);
    case 'BUSY': throw new InProgress('it runs already', true);
    case 'UNKNOWN': throw new OutcomeUnknown('it may have run; it is not run again until somebody has looked');
    case 'FORGOTTEN': throw new Forgotten('it may have run: it is so old that its result may be forgotten');
    default: throw new Unavailable(`a CLAIM was answered ${status}`);
  }
}

class Jobs {
  #settings;
  #name;
  #callbacks;
  #work;
  #shared;
  #store;
  #claiming;

  constructor(settings, work) {
    this.#callbacks = callbacksOf(settings);
    this.#name = nameOf(settings);
    this.#settings = settingsOf(settings);
    this.#work = work;
    this.#shared = new Shared(this.#settings.logger);
    this.#store = this.#shared.open(this.#settings);
    this.#claiming = new Claiming(this.#store, this.#settings);
  }

  async call(args) {
    const asked = await this.#asked(args);
    const emit = emitter(this.#settings, this.#shared.log, 'JOB', () => this.#name);
    let reply;
    try {
      reply = await this.#claiming.ask(asked);
    } catch (error) {
      throw refusalOf(error);
    }
    if (reply.status !== 'CLAIMED') return resultOf(asked.record, reply);
    emit('claimed', { attempt: reply.attempt });
    return this.#run(new Grant(this.#context(asked.record, emit), asked.record, reply), args);
  }

  async #asked(args) {
    const { key, input, born } = this.#callbacks;
    const record = this.#record(await key(...args));
    const pieces = input && parsedPieces(await input(...args));
    return {
      record,
      fingerprint: pieces && fingerprint('JOB', Buffer.from(this.#name), pieces),
      born: born ? msOf(await born(...args)) : null,
      left: () => NEVER_LEFT,
    };
  }

  #record(key) {
    if (key === '' || !isText(key)) throw new TypeError(`idem: key of job '${this.#name}' has to give a text that is not empty, or a whole number`);
    return jobRecord(this.#settings.prefix, this.#name, String(key));
  }

  #context(record, emit) {
    const replay = (reply) => ({ result: () => resultOf(record, reply) });
    return { store: this.#store, log: this.#shared.log, settings: this.#settings, emit, replay };
  }

  async #run(grant, args) {
    let result;
    let body;
    try {
      result = await this.#work(...args, grant.claim);
      body = JSON.stringify(result) ?? ''; // undefined and a function have no JSON
    } catch (error) {
      await grant.raised(error);
      throw error;
    }
    const other = await grant.finished(body, META, META_NOT_KEPT);
    return other ? other.result() : result;
  }

  close() {
    this.#shared.close();
  }
}

/* work(...arguments, claim). Returns a function with the same arguments but the last; close() closes its connections. */
function job(settings, work) {
  if (typeof work !== 'function') throw new TypeError('idem: job(settings, work): work has to be a function');
  const jobs = new Jobs(settings, work);
  const once = (...args) => jobs.call(args);
  once.close = () => jobs.close();
  return once;
}

module.exports = { job, DidNothing, NotRun, InProgress, KeyReused, OutcomeUnknown, Forgotten, NotKept, Unavailable };
