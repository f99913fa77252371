/*
 * fingerprint.js - a request's digest in the layout of libidem (client/fingerprint.c):
 *
 *     "idem1" part(method) part(path) count=0 part(body)...
 *     part: 8 bytes of length, little endian, and the bytes
 *
 * The raw bytes, not their meaning: a client that retries sends what it sent. With one exception: a
 * multipart form is cut at its boundary, which browsers choose anew for each try.
 */
'use strict';

const { createHash } = require('node:crypto');

function length(bytes) {
  const number = Buffer.alloc(8);
  number.writeUIntLE(bytes.length, 0, 6); // a Buffer is shorter than 2^48
  return number;
}

/* path: with the query, as bytes; pieces: the body, one Buffer or several. */
function fingerprint(method, path, pieces) {
  const digest = createHash('sha256').update('idem1');
  for (const part of [Buffer.from(method), path]) digest.update(length(part)).update(part);
  digest.update(Buffer.alloc(8));
  for (const part of pieces) digest.update(length(part)).update(part);
  return digest.digest();
}

function boundaryOf(contentType) {
  if (!/^\s*multipart\/form-data\s*(;|$)/i.test(contentType)) return null;
  const found = /;\s*boundary\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s;]+))/i.exec(contentType);
  const boundary = found && (found[1] !== undefined ? found[1].replace(/\\(.)/g, '$1') : found[2]);
  return boundary || null;
}

/* What stands between the delimiters, with what is before the first and after the last. */
function bodyPieces(body, contentType) {
  const boundary = boundaryOf(contentType);
  if (boundary === null) return [body];
  const delimiter = Buffer.from(`\r\n--${boundary}`, 'latin1');
  const whole = Buffer.concat([Buffer.from('\r\n'), body]); // the first delimiter has no line before it
  const pieces = [];
  let start = 0;
  for (let at = whole.indexOf(delimiter); at >= 0; at = whole.indexOf(delimiter, start)) {
    pieces.push(whole.subarray(start, at));
    start = at + delimiter.length;
  }
  pieces.push(whole.subarray(start));
  return pieces;
}

/* Of a Map or a FormData JSON makes "{}", whatever is in it: all would be equal. */
function showsNothing(value) {
  const prototype = Object.getPrototypeOf(value);
  return prototype !== null && prototype !== Object.prototype && Object.keys(value).length === 0 && typeof value.constructor === 'function' &&
    value.constructor !== Object;
}

/* JSON with sorted keys: equal values have equal texts. */
function canonical(value) {
  if (Array.isArray(value)) return `[${value.map((item) => canonical(item ?? null)).join(',')}]`;
  if (value === null || typeof value !== 'object' || typeof value.toJSON === 'function') return JSON.stringify(value ?? null);
  if (showsNothing(value)) throw new TypeError(`idem: a ${value.constructor.name} cannot be compared: it has no JSON`);
  const names = Object.keys(value).filter((name) => value[name] !== undefined).sort();
  return `{${names.map((name) => `${JSON.stringify(name)}:${canonical(value[name])}`).join(',')}}`;
}

/* For a body of which only what a parser made of it is left: its fields, and of each file
 * [field, file name, SHA-256 in hexadecimal]. */
function parsedPieces(fields, files = []) {
  const all = files.length > 0 ? { fields, files } : { fields };
  return [Buffer.from(`parsed:${canonical(all)}`)];
}

module.exports = { fingerprint, bodyPieces, parsedPieces };
