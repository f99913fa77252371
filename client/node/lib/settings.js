/*
 * settings.js - what can be set: names, defaults, limits. A setting that is unknown or out of range is
 * an error at start, not at the first request.
 *
 * Durations are whole milliseconds, sizes are bytes.
 */
'use strict';

const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;
const MEBIBYTE = 1 << 20;
const TTL_LIMIT_MS = 31 * DAY_MS; // the server's
const TEXT_LIMIT = 256; // of a prefix and of a job's name: with the digest after it a record's key stays below the server's 1 KiB

// Answers that say nothing about the work: the same request may succeed later, or with credentials.
const RETRYABLE = new Set([401, 408, 409, 423, 425, 429]);

const isText = (value) => typeof value === 'string' && value.length > 0;
const isToken = (value) => typeof value === 'string' && /^[\w!#$%&'*+.^`|~-]+$/.test(value);
const isTokens = (value) => Array.isArray(value) && value.every(isToken);
const isFunction = (value) => typeof value === 'function';
const isClient = (value) => isFunction(value?.duplicate) &&
  (isFunction(value.callBuffer) || isFunction(value.sendCommand));

const text = { check: (value) => isText(value) && value.length <= TEXT_LIMIT, says: `a text of 1 to ${TEXT_LIMIT} characters` };
const url = {
  check: (value) => /^rediss?:$/.test(protocolOf(value)),
  says: 'a URL that begins with redis:// or rediss://',
};
const flag = { check: (value) => typeof value === 'boolean', says: 'true or false' };
const callback = { check: isFunction, says: 'a function' };
const tokens = { check: isTokens, says: 'an array of names' };
const number = (least, most) => ({
  check: (value) => Number.isInteger(value) && value >= least && value <= most,
  says: `a whole number from ${least} to ${most}`,
});

function protocolOf(value) {
  try {
    return new URL(value).protocol;
  } catch {
    return '';
  }
}

// name: [default, what it has to be]. null as a default means none, and may be given.
const SETTINGS = {
  url: ['redis://127.0.0.1:4336', url],
  client: [null, { check: isClient, says: 'a client of ioredis or node-redis' }],
  prefix: ['http', text],
  methods: [['POST', 'PATCH'], tokens],
  header: ['Idempotency-Key', { check: isToken, says: "a header's name" }],
  required: [false, flag],
  scope: [null, callback],
  operation: [null, callback],
  waitMs: [0, number(0, 60_000)],
  maxWaiting: [256, number(0, 100_000)],
  busyStatus: [409, { check: (value) => value === 409 || value === 408, says: '409 or 408' }],
  leaseMs: [15_000, number(300, HOUR_MS)],
  renewForMs: [600_000, number(0, DAY_MS)],
  ttlMs: [DAY_MS, number(0, TTL_LIMIT_MS)],
  hold: [false, flag],
  born: [null, { check: (value) => isToken(value) || isFunction(value), says: "'uuid7', a header's name or a function" }],
  keep: [(status) => status < 500 && !RETRYABLE.has(status), callback],
  bodyLimit: [MEBIBYTE, number(0, 512 * MEBIBYTE)],
  requestLimit: [16 * MEBIBYTE, number(0, 512 * MEBIBYTE)],
  dropHeaders: [[], tokens],
  failOpen: [false, flag],
  timeoutMs: [2_000, number(1, 600_000)],
  problemBase: ['urn:idem:', { check: isText, says: 'a text' }],
  docsUrl: [null, { check: (value) => protocolOf(value) !== '' && !/[<>"\s]/.test(value), says: 'a URL' }],
  skip: [null, callback],
  onEvent: [null, callback],
  logger: [null, { check: (value) => isFunction(value?.error) && isFunction(value?.warn), says: 'an object with error() and warn()' }],
};

// What belongs to the connections: a route that sets one of these has connections of its own.
const OF_THE_STORE = ['url', 'client', 'timeoutMs', 'maxWaiting'];

/* settings over base (all defaults when there is none). Throws TypeError. */
function checked(settings = {}, base = defaults()) {
  if (settings === null || typeof settings !== 'object') throw new TypeError('idem: settings have to be an object');
  const result = { ...base };
  for (const [name, value] of Object.entries(settings)) {
    const known = Object.hasOwn(SETTINGS, name) ? SETTINGS[name] : null;
    if (!known) throw new TypeError(`idem: no setting is called '${name}'; there are ${Object.keys(SETTINGS).join(', ')}`);
    if (value === undefined) continue;
    if (!known[1].check(value) && !(value === null && known[0] === null)) {
      throw new TypeError(`idem: setting '${name}' has to be ${known[1].says}`);
    }
    result[name] = value;
  }
  return Object.freeze(normal(result));
}

function normal(settings) {
  return {
    ...settings,
    methods: settings.methods.map((method) => method.toUpperCase()),
    dropHeaders: settings.dropHeaders.map((name) => name.toLowerCase()),
  };
}

function defaults() {
  const values = Object.fromEntries(Object.entries(SETTINGS).map(([name, [value]]) => [name, value]));
  if (process.env.IDEM_URL) values.url = checkedUrl(process.env.IDEM_URL);
  return values;
}

function checkedUrl(value) {
  if (!url.check(value)) throw new TypeError(`idem: IDEM_URL has to be ${url.says}`);
  return value;
}

const otherStore = (settings) => OF_THE_STORE.some((name) => settings[name] !== undefined);

module.exports = { checked, otherStore, TEXT_LIMIT, TTL_LIMIT_MS };
