// The core without a server: settings, keys, fingerprints, META. The vectors are those of the Python package.
'use strict';

const assert = require('node:assert/strict');
const test = require('node:test');
const { lib } = require('./world.js');

const { checked } = lib('settings.js');
const { BadKey, keyFromHeader, joined, jobRecord, bornOfKey, bornFromHeader } = lib('key.js');
const { bodyPieces, parsedPieces } = lib('fingerprint.js');
const { storable, encoded, decoded } = lib('meta.js');
const { parsedTarget } = lib('target.js');
const { problem } = lib('problem.js');
const { Store } = lib('store.js');

test('a setting that is unknown or out of range is an error at start', () => {
  const refused = [
    [{ waitMS: 5 }, /no setting is called 'waitMS'/], [{ waitMs: 60_001 }, /'waitMs' has to be a whole number from 0 to 60000/],
    [{ waitMs: '5' }, /waitMs/], [{ url: 'http://x' }, /redis:\/\//], [{ url: 'nonsense' }, /redis:\/\//], [{ leaseMs: 0 }, /leaseMs/],
    [{ keep: true }, /'keep' has to be a function/], [{ keep: null }, /keep/], [{ methods: 'POST' }, /an array of names/], [{ hold: 1 }, /true or false/],
    [{ header: 'a b' }, /a header's name/], [{ born: 5 }, /uuid7/], [{ docsUrl: 'no url' }, /a URL/], [{ client: {} }, /ioredis or node-redis/],
    [{ prefix: '' }, /prefix/], [{ logger: {} }, /error\(\) and warn\(\)/], [null, /an object/],
  ];
  for (const [settings, message] of refused) assert.throws(() => checked(settings), message, JSON.stringify(settings));
});

test('of a client that sends again later what was timed out here only duplicates are used', async () => {
  const says = (method, who) => ({ [method]: async () => who, on() {}, async connect() {}, disconnect() {} });
  const client = (options, method) => ({ ...says(method, 'itself'), options, duplicate: () => says(method, 'a duplicate') });
  const never = { enableOfflineQueue: false, autoResendUnfulfilledCommands: false };
  const cases = [
    ['callBuffer', {}, 'a duplicate'], ['callBuffer', undefined, 'a duplicate'], ['callBuffer', { ...never, enableOfflineQueue: true }, 'a duplicate'],
    ['callBuffer', { enableOfflineQueue: false }, 'a duplicate'], ['callBuffer', never, 'itself'],
    ['sendCommand', {}, 'a duplicate'], ['sendCommand', undefined, 'a duplicate'], ['sendCommand', { disableOfflineQueue: true }, 'itself'],
  ];
  for (const [method, options, who] of cases) {
    const store = new Store(checked({ client: client(options, method) }));
    assert.equal(await store.call(['PING']), who, `${method} ${JSON.stringify(options)}`);
    store.close();
  }
});

test('a setting over another one is checked too, and what is not given stays', () => {
  const base = checked({ waitMs: 5, methods: ['post'] });
  assert.deepEqual(base.methods, ['POST']);
  assert.equal(checked({ required: true }, base).waitMs, 5);
  assert.equal(checked({ scope: null }, base).scope, null);
  assert.throws(() => checked({ ttlMs: -1 }, base), /ttlMs/);
  assert.throws(() => { base.waitMs = 7; }, TypeError);
});

test('IDEM_URL is the default of url', () => {
  const before = process.env.IDEM_URL;
  try {
    process.env.IDEM_URL = 'rediss://u:p@host:1';
    assert.equal(checked().url, 'rediss://u:p@host:1');
    process.env.IDEM_URL = 'http://host';
    assert.throws(() => checked(), /IDEM_URL/);
  } finally {
    if (before === undefined) delete process.env.IDEM_URL;
    else process.env.IDEM_URL = before;
  }
});

test('a quoted key and a bare one are one key', () => {
  for (const value of ['"abc"', 'abc', ' \tabc\t ', '"abc";a=1;b;c=?0']) assert.equal(keyFromHeader([value]), 'abc', value);
  assert.equal(keyFromHeader(['"a\\"b\\\\c d"']), 'a"b\\c d');
});

test('what is no key is an error, never "none"', () => {
  const bad = [[''], [' '], ['""'], ['"  "'], ['a,b'], ['"a", "a"'], ['a b'], ['"a'], ['"a\\x"'], ['"a";A=1'], ['\u00e9'], ['"\u00e9"'], ['k'.repeat(256)], ['k', 'k']];
  for (const values of bad) assert.throws(() => keyFromHeader(values), BadKey, JSON.stringify(values));
  assert.equal(keyFromHeader(['k'.repeat(255)]).length, 255);
});

test('parts never run into each other, and an absent one is not an empty one', () => {
  assert.equal(String(joined(['a', null, '', '\u00e9'])), '1:a-0:2:\u00e9');
});

test('the record of a job says which one it is, and never that of another', () => {
  const vectors = [
    [['job', 'charge', 'order-17'], 'job:charge:order-17'], [['job', 'a:b', 'c'], 'job:a%3Ab:c'], [['job', 'a', 'b:c'], 'job:a:b:c'],
    [['job', '100%', 'k:%3A'], 'job:100%25:k:%3A'], [['x:y', 'zahlung', '\u00fc'], 'x%3Ay:zahlung:\u00fc'], [['x', 'y:zahlung', 'a'], 'x:y%3Azahlung:a'],
  ];
  for (const [parts, record] of vectors) assert.equal(jobRecord(...parts), record);
  const texts = ['a', 'a:', ':a', '%', '%3A', 'a%3A', ':', '%25'];
  const all = texts.flatMap((prefix) => texts.flatMap((name) => texts.map((key) => jobRecord(prefix, name, key))));
  assert.equal(new Set(all).size, texts.length ** 3);
  assert.equal(jobRecord('job', 'a', 'x'.repeat(1018)).length, 1024);
  assert.throws(() => jobRecord('job', 'a', 'x'.repeat(1019)), RangeError);
});

test('a birth is that of a UUIDv7, of milliseconds, or of an HTTP date', () => {
  assert.equal(bornOfKey('018bcfe5-6800-7000-8000-000000000000'), 0x018bcfe56800);
  assert.equal(bornOfKey('018bcfe5-6800-4000-8000-000000000000'), null);
  assert.equal(bornFromHeader('1700000000000'), 1_700_000_000_000);
  assert.equal(bornFromHeader('Tue, 14 Nov 2023 22:13:20 GMT'), 1_700_000_000_000);
  for (const value of ['yesterday', 'Nov 14, 2023', '-1', '']) assert.throws(() => bornFromHeader(value), BadKey, value);
});

test('a multipart body is cut at its boundary, and at nothing else', () => {
  const body = (boundary) => Buffer.from(`--${boundary}\r\nContent-Disposition: form-data; name="a"\r\n\r\n1\r\n--${boundary}--\r\n`);
  const pieces = (boundary, type) => bodyPieces(body(boundary), type).map(String);
  assert.deepEqual(pieces('xyz', 'multipart/form-data; boundary=xyz'), pieces('"q', 'multipart/form-data; charset=x; boundary="\\"q"'));
  assert.equal(pieces('xyz', 'multipart/form-data; boundary=xyz').length, 3);
  assert.equal(pieces('xyz', 'multipart/form-data').length, 1);
  assert.equal(pieces('xyz', 'application/json; boundary=xyz').length, 1);
});

test('what a parser has made of a body counts by its meaning, and its files by their bytes', () => {
  assert.deepEqual(parsedPieces({ b: 1, a: { d: [1, undefined], c: null } }), parsedPieces({ a: { c: null, d: [1, null] }, b: 1 }));
  assert.notDeepEqual(parsedPieces({}, [['f', 'a.txt', '00']]), parsedPieces({}, [['f', 'a.txt', '01']]));
  assert.notDeepEqual(parsedPieces({}), parsedPieces({ a: '' }));
});

test('META is what it was, and nothing else is', () => {
  const head = { status: 201, headers: [['location', '/a'], ['link', 'a'], ['link', '\u00e9']] };
  assert.deepEqual(decoded(encoded(head.status, head.headers)), head);
  assert.deepEqual(decoded(encoded(200, null)), { status: 200, headers: null });
  const others = ['', '{}', '[2,200,[]]', '[1,"200",[]]', '[1,99,[]]', '[1,99,null]', '[1,1000,null]', '[1,199,[]]', '[1,600,[]]', '[1,200,[["a"]]]', '[1,200,[["a","b\\r\\nc"]]]', '[1,200]', '[1,"job"]', null];
  for (const meta of others) assert.equal(decoded(meta), null, String(meta));
});

test('what belongs to one caller, one connection or to middleware outside is not stored', () => {
  const headers = {
    Location: '/a', ETag: '"x"', 'set-cookie': ['a', 'b'], Date: 'now', 'Access-Control-Allow-Origin': '*', connection: 'close, X-Hop', 'x-hop': '1',
    'X-Mine': 'no', vary: 'Origin, Accept', 'x-outer': '1', link: ['a', 'b'], 'content-length': 5,
  };
  assert.deepEqual(storable(headers, { vary: 'Origin', 'x-outer': '1' }, ['x-mine']),
    [['location', '/a'], ['etag', '"x"'], ['vary', 'Origin, Accept'], ['link', 'a'], ['link', 'b']]);
});

test('a path is decoded byte by byte, its query is not', () => {
  const of = (target) => Object.values(parsedTarget(target)).map((bytes) => bytes.toString('latin1'));
  assert.deepEqual(of('/a%20b/%C3%A9?x=%20'), ['/a b/\u00c3\u00a9', 'x=%20']);
  assert.deepEqual(of('http://host:1/a%2'), ['/a%2', '']);
  assert.deepEqual(of('http://host'), ['/', '']);
});

test('a problem has the type of the settings, and a Link when there is a page', () => {
  const { status, headers, body } = problem(checked({ problemBase: 'https://x/', docsUrl: 'https://x/docs' }), 'in-progress', 'why');
  assert.equal(status, 409);
  assert.equal(JSON.parse(body).type, 'https://x/in-progress');
  assert.deepEqual(headers, [['content-type', 'application/problem+json'], ['retry-after', '1'], ['link', '<https://x/docs>; rel="describedby"']]);
});
