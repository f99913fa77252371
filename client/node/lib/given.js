/*
 * given.js - what a function of the settings has given, checked. Of what is no text the text is the same for all, or another
 * one at each try: "[object Object]" as a scope is one scope for all users. So it is an error, and nothing runs.
 */
'use strict';

const kindOf = (value) => (value === null ? 'null' : Array.isArray(value) ? 'an array' : typeof value);

function wrong(what, wanted, value) {
  return new TypeError(`idem: ${what} ${wanted}, not ${kindOf(value)}`);
}

/* A number beyond the safe ones has neighbours that are equal to it. */
const isText = (value) => typeof value === 'string' || typeof value === 'bigint' || Number.isSafeInteger(value);

/* A text, or a whole number as one. what: the beginning of the error's sentence. */
function textOf(value, what) {
  if (!isText(value)) throw wrong(what, 'a text or a whole number', value);
  return String(value);
}

/* Of `operation`. */
function pairOf(value) {
  if (!Array.isArray(value) || value.length !== 2 || !value.every((part) => typeof part === 'string')) {
    throw wrong('operation has to give', 'two texts, [method, path]', value);
  }
  return value;
}

/* Of `born`: unix milliseconds, or null for none. */
function msOf(value) {
  if (value === null || value === undefined) return null;
  if (!Number.isSafeInteger(value) || value < 0) throw wrong('born has to give', 'whole unix milliseconds', value);
  return value;
}

module.exports = { isText, textOf, pairOf, msOf };
