/*
 * meta.js - status and headers of a response as they are stored beside its body, and which of its
 * headers are not: JSON [1, status, [[name, value], ...]], or [1, status, null] for a response that is not kept.
 *
 * Any client that has the key gets what is stored, perhaps much later. A denylist: Location, ETag, Link and
 * what else the application says must come back.
 */
'use strict';

const VERSION = 1;

const NEVER_STORED = new Set([
  // They would log in a stranger that has the key, and undo the logout of a caller that retries late.
  'set-cookie', 'set-cookie2', 'clear-site-data',
  // What authenticates belongs to one exchange: a challenge and its nonce, a proof, credentials.
  'www-authenticate', 'proxy-authenticate', 'authentication-info', 'proxy-authentication-info', 'authorization',
  'proxy-authorization',
  // Said of one message at one time.
  'date', 'age', 'via', 'server', 'alt-svc', 'x-request-id', 'x-correlation-id', 'server-timing',
  // Hop by hop.
  'connection', 'keep-alive', 'proxy-connection', 'te', 'trailer', 'transfer-encoding', 'upgrade',
  'content-length', // made anew
  'idempotent-replayed', // says of the replay what it is
]);

/* Every framework can send it: those of the Fetch API know no other status. One beyond is only known as "not kept". */
const isReplayable = (status) => status >= 200 && status <= 599;

const valuesOf = (value) => (Array.isArray(value) ? value.map(String) : [String(value)]);

/* headers: {name: value or values}, as of ServerResponse.getHeaders(). before: the same of the time of the claim: what
 * middleware outside had set and nobody has changed is not stored. Returns [[name, value], ...], names in lower case. */
function storable(headers, before = {}, dropped = []) {
  const all = Object.entries(headers).filter(([, value]) => value !== undefined)
    .map(([name, value]) => [name.toLowerCase(), valuesOf(value)]);
  const hopByHop = new Set(all.filter(([name]) => name === 'connection')
    .flatMap(([, values]) => values.join(',').split(',').map((name) => name.trim().toLowerCase())));
  const unchanged = (name, values) => Object.hasOwn(before, name) && before[name] !== undefined &&
    String(valuesOf(before[name])) === String(values);
  return all
    .filter(([name, values]) => !NEVER_STORED.has(name) && !name.startsWith('access-control-') &&
      !hopByHop.has(name) && !dropped.includes(name) && !unchanged(name, values))
    .flatMap(([name, values]) => values.map((value) => [name, value]));
}

/* headers null: the response is not kept. */
const encoded = (status, headers) => JSON.stringify([VERSION, status, headers]);

const isStatus = (status) => Number.isInteger(status) && status >= 100 && status <= 999;

const isPair = (pair) => Array.isArray(pair) && pair.length === 2 &&
  pair.every((text) => typeof text === 'string' && !/[\r\n\0]/.test(text));

/* {status, headers or null}; null for what encoded() has not made: another program's record, or one of another version. */
function decoded(meta) {
  let parts;
  try {
    parts = JSON.parse(meta);
  } catch {
    return null;
  }
  if (!Array.isArray(parts) || parts.length !== 3 || parts[0] !== VERSION) return null;
  const [, status, headers] = parts;
  if (!isStatus(status)) return null;
  const isWhole = isReplayable(status) && Array.isArray(headers) && headers.every(isPair);
  return isWhole || headers === null ? { status, headers } : null;
}

module.exports = { isReplayable, storable, encoded, decoded };
