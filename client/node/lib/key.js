/*
 * key.js - the key inside an Idempotency-Key header, and the key of the record that it names.
 *
 * One request has one key: several, an empty or a malformed one is an error, never "no key", for who sends
 * it wanted protection. The record's key is a digest, because a client's key fetches a response: it is a
 * secret, and belongs into no SCAN, MONITOR or log.
 */
'use strict';

const { createHash } = require('node:crypto');

const KEY_LIMIT = 255; // characters
const RECORD_LIMIT = 1024; // bytes, the server's

// RFC 8941: an Item that is a String. Its parameters are checked and ignored.
const STRING = String.raw`"(?:[ !#-\[\]-~]|\\["\\])*"`;
const NUMBER = String.raw`-?(?:[0-9]{1,12}\.[0-9]{1,3}|[0-9]{1,15})`;
const TOKEN = String.raw`[A-Za-z*][A-Za-z0-9_!#$%&'*+.^` + '`' + String.raw`|~:/-]*`;
const ITEM = String.raw`(?:${STRING}|${NUMBER}|${TOKEN}|\?[01]|:[A-Za-z0-9+/=]*:)`;
const QUOTED = new RegExp(String.raw`^(${STRING})(?:; *[a-z*][a-z0-9_.*-]*(?:=${ITEM})?)*$`);
// What clients send that do not follow the draft: visible ASCII, but no quote, and no comma, with which
// servers and proxies join several headers to one.
const BARE = /^[!#-+\--~]+$/;

class BadKey extends Error {}

/* The values of all header lines with that name, at least one. Throws BadKey. */
function keyFromHeader(values) {
  if (values.length > 1) throw new BadKey('the request has more than one key');
  const value = values[0].replace(/^[ \t]+|[ \t]+$/g, '');
  const quoted = QUOTED.exec(value);
  if (quoted) return checkedKey(quoted[1].slice(1, -1).replace(/\\(.)/g, '$1'));
  if (value !== '' && !BARE.test(value)) {
    throw new BadKey('it has to be one quoted string, or visible ASCII without quotes and commas');
  }
  return checkedKey(value);
}

function checkedKey(key) {
  if (/^ *$/.test(key)) throw new BadKey('the key is empty');
  if (key.length > KEY_LIMIT) throw new BadKey(`the key is longer than ${KEY_LIMIT} characters`);
  return key;
}

/* As idem_key of libidem: each part as "length:bytes", an absent one (null) as "-". */
function joined(parts) {
  return Buffer.concat(parts.flatMap((part) => {
    if (part === null) return [Buffer.from('-')];
    const bytes = Buffer.from(part);
    return [Buffer.from(`${bytes.length}:`), bytes];
  }));
}

/* scope: a text, or null for none; path: a text or its bytes. */
function recordKey(prefix, scope, method, path, key) {
  const digest = createHash('sha256').update(joined([scope, method, path, key])).digest('base64url');
  return `${prefix}:${digest}`;
}

/* The record of a job: "prefix:name:key", in which neither prefix nor name has a colon, so that two jobs never share one. It is
 * readable, unlike a request's: a job's key is no secret, and who looks at CLAIMS finds it. client/python makes the same. */
function jobRecord(prefix, name, key) {
  const escaped = (text) => text.replace(/[%:]/g, (character) => (character === '%' ? '%25' : '%3A'));
  const record = `${escaped(prefix)}:${escaped(name)}:${key}`;
  if (/\p{Surrogate}/u.test(record)) throw new TypeError("idem: half of a surrogate pair is in a job's key or name");
  if (Buffer.byteLength(record) > RECORD_LIMIT) throw new RangeError(`idem: prefix, name and key of a job have at most ${RECORD_LIMIT} bytes together`);
  return record;
}

// With its hyphens only: of other strings of 32 hexadecimal digits one in 64 would look like it.
const UUID7 = /^([0-9a-f]{8})-([0-9a-f]{4})-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/i;

/* Unix ms at which a UUIDv7 was made, by its maker's clock; null for any other key. */
function bornOfKey(key) {
  const found = UUID7.exec(key);
  return found ? parseInt(found[1] + found[2], 16) : null;
}

// Date.parse() alone takes almost anything for a date.
const HTTP_DATE = /^[A-Z][a-z]{2}, \d{2} [A-Z][a-z]{2} \d{4} \d{2}:\d{2}:\d{2} GMT$/;

/* Unix ms from a header with the time of the first try: milliseconds, or an HTTP date as in
 * Repeatability-First-Sent. Throws BadKey. */
function bornFromHeader(value) {
  const text = value.trim();
  const time = /^\d{1,15}$/.test(text) ? Number(text) : HTTP_DATE.test(text) ? Date.parse(text) : NaN;
  if (Number.isNaN(time)) throw new BadKey('the time of the first try has to be an HTTP date, or milliseconds since 1970');
  return time;
}

module.exports = { BadKey, keyFromHeader, joined, recordKey, jobRecord, bornOfKey, bornFromHeader };
