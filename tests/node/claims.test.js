// Claims, and what is told later, with a server that is played here: what it answers, and in which order, is part of the test.
'use strict';

const assert = require('node:assert/strict');
const test = require('node:test');
const { LIMIT_MS, lib, until, memory } = require('./world.js');

const { checked } = lib('settings.js');
const { Claiming } = lib('claiming.js');
const { emitter } = lib('events.js');
const { Grant } = lib('grant.js');
const { Later } = lib('later.js');
const { Log } = lib('log.js');
const { decoded } = lib('meta.js');
const { Store } = lib('store.js');
const { Refusal, NoAnswer } = lib('errors.js');

const options = { timeout: LIMIT_MS };
const OLD = 60_000; // ms: a lease that does not end here
const ok = async () => 1;
const yielded = () => new Promise((resolve) => { setImmediate(resolve); });

/* answer(words): what the server says, or throws. */
function claim(answer, more = {}) {
  const asked = [];
  const events = [];
  const store = {
    later: new Later(),
    call: (words) => {
      asked.push(words);
      return answer(words);
    },
  };
  const logger = memory();
  const emit = (name) => events.push(name);
  const context = { store, log: new Log(logger), settings: checked({ leaseMs: 300, ...more }), emit, replay: (reply) => reply };
  const grant = new Grant(context, 'http:record', { token: 7, attempt: 1, stage: null });
  const commands = () => asked.map(([name]) => name.slice(5));
  return { grant, asked, events, commands, logger, store };
}

/* A client of ioredis, as far as the package knows one. answer(words): what the server says, or throws; opens(): how a
 * connection of its own is opened. `opened` and `open`: those connections, ever and now. */
function played(answer, opens = ok) {
  const open = new Set();
  const call = async (...words) => answer(words);
  const client = {
    opened: 0,
    open,
    options: { enableOfflineQueue: false, autoResendUnfulfilledCommands: false },
    callBuffer: call,
    duplicate() {
      client.opened += 1;
      const copy = { callBuffer: call, on: () => {}, connect: () => opens(), disconnect: () => open.delete(copy) };
      open.add(copy);
      return copy;
    },
  };
  return client;
}

/* A promise that the test ends. */
function pending() {
  const made = {};
  made.promise = new Promise((resolve, reject) => Object.assign(made, { resolve, reject }));
  return made;
}

/* Date.now() off by an hour while work() goes on. */
async function clockSet(ms, work) {
  const { now } = Date;
  Date.now = () => now() + ms;
  try {
    return await work();
  } finally {
    Date.now = now;
  }
}

// ---- the setting `keep` ----

for (const [keeps, ttlMs] of [[true, 86_400_000], [false, 0]]) {
  test(`an async keep is awaited (${keeps})`, options, async () => {
    const { grant, asked } = claim(ok, { keep: async () => keeps });
    await grant.answered(200, [], Buffer.from('x'));
    assert.equal(asked[0][asked[0].indexOf('TTL') + 1], ttlMs);
  });
}

test('the claim is renewed while keep is awaited', options, async () => {
  const waits = pending();
  const { grant, commands } = claim(ok, { keep: () => waits.promise });
  const answered = grant.answered(200, [], Buffer.from('x'));
  await until(() => commands().includes('RENEW'), 'a renewal');
  waits.resolve(true);
  await answered;
  assert.equal(commands().at(-1), 'STORE');
});

test('a keep that fails leaves what an exception leaves', options, async () => {
  for (const keep of [() => { throw new Error('broken'); }, () => Promise.reject(new Error('broken'))]) {
    const { grant, asked } = claim(ok, { keep });
    await assert.rejects(grant.answered(200, [], Buffer.from('x')), /broken/);
    assert.deepEqual(asked, [['IDEM.RELEASE', 'http:record', 7, 'UNSURE']]);
  }
});

test('keep() takes no more than the server does', options, async () => {
  const { grant, asked } = claim(ok);
  for (const wrong of [31 * 86_400_000 + 1, 0, -1, 1.5, Infinity, NaN, '5', null, undefined]) assert.throws(() => grant.claim.keep(wrong), TypeError, String(wrong));
  grant.claim.keep(31 * 86_400_000);
  await grant.answered(200, [], Buffer.from('x'));
  assert.ok(asked[0].includes(31 * 86_400_000));
});

test('a 5xx is unsure whenever it is not kept, also by the setting ttlMs', options, async () => {
  for (const [more, status, ttlMs, isUnsure] of [
    [{ ttlMs: 0, keep: () => true }, 500, 0, true], [{ ttlMs: 0, keep: () => true }, 499, 0, false], [{ ttlMs: 0 }, 503, 0, true],
    [{ keep: () => true }, 500, 86_400_000, false], [{}, 500, 0, true], [{}, 409, 0, false],
  ]) {
    const { grant, asked } = claim(ok, more);
    await grant.answered(status, [], Buffer.from('x'));
    const what = `${status} ${Object.keys(more)}`;
    assert.equal(asked[0][asked[0].indexOf('TTL') + 1], ttlMs, what);
    assert.equal(asked[0].includes('UNSURE'), isUnsure, what);
  }
});

test('a status that not every framework can send again is stored as a response that is not kept', options, async () => {
  for (const [status, headers, event] of [[200, [], 'stored'], [599, [], 'stored'], [600, null, 'not_kept'], [999, null, 'not_kept'], [150, null, 'not_kept']]) {
    const { grant, asked, events } = claim(ok, { keep: () => true });
    await grant.answered(status, [], Buffer.from('x'));
    assert.deepEqual(decoded(asked[0][asked[0].indexOf('META') + 1]), { status, headers });
    assert.equal(String(asked[0][3]), headers === null ? '' : 'x');
    assert.deepEqual(events, [event]);
  }
});

// ---- what is asked ----

test('what was given up before it was sent is not sent when the connection opens at last', options, async (t) => {
  const opening = pending();
  const asked = [];
  const client = played((words) => { asked.push(words); }, () => opening.promise);
  delete client.options; // so that only duplicates of it are used
  const store = new Store(checked({ client, timeoutMs: 20 }));
  t.after(() => store.close());
  await assert.rejects(store.call(['IDEM.CLAIM', 'r']), (error) => error instanceof NoAnswer && !error.sent);
  opening.resolve();
  await yielded();
  assert.deepEqual(asked, []);
  assert.equal(client.open.size, 0);
});

// ---- who waits ----

for (const when of ['before it waits', 'while its connection is opened', 'when it is open', 'while it waits']) {
  test(`a caller that leaves ${when} leaves no connection open`, options, async (t) => {
    const leaving = new AbortController();
    const [opening, answer] = [pending(), pending()];
    const client = played(() => answer.promise, () => opening.promise);
    const store = new Store(checked({ client }));
    t.after(() => store.close());
    if (when === 'before it waits') leaving.abort();
    const waits = store.wait(['IDEM.CLAIM', 'r'], 10_000, leaving.signal);
    if (when === 'while its connection is opened') leaving.abort();
    opening.resolve();
    if (when === 'when it is open') leaving.abort();
    if (when === 'while it waits') {
      await yielded();
      leaving.abort();
      answer.reject(new Error('closed'));
    }
    await assert.rejects(waits, NoAnswer);
    assert.equal(client.open.size, 0);
    assert.equal(client.opened, when === 'before it waits' ? 0 : 1);
  });
}

// ---- renewals ----

test('stages that are told beside a renewal leave one renewal at a time, and none after the end', options, async () => {
  const first = pending();
  const replies = [first.promise];
  const { grant, commands } = claim((words) => (words[0] === 'IDEM.RENEW' ? replies.shift() ?? ok() : ok()));
  await until(() => commands().length === 1, 'a renewal that is on its way');
  const told = Array.from({ length: 20 }, (_, i) => grant.setStage(`step ${i}`));
  first.resolve(1);
  await Promise.all(told);
  await until(() => commands().length > 21, 'the next renewal');
  await yielded();
  assert.ok(commands().length < 25, `${commands().length - 21} renewals at once`);
  await grant.raised(new Error('x'));
  const before = commands().length;
  await new Promise((resolve) => { setTimeout(resolve, 250); }); // more than the pause between two renewals
  assert.deepEqual(commands().slice(before), []);
});

for (const order of ['before', 'after']) {
  test(`a renewal that is granted ${order} the answer to RELEASE UNSURE is undone`, options, async () => {
    const [renewal, release] = [pending(), pending()];
    const { grant, commands, asked } = claim((words) => (words[0] === 'IDEM.RENEW' ? renewal.promise : release.promise));
    await until(() => commands().length === 1, 'a renewal');
    const raised = grant.raised(new Error('x'));
    for (const one of order === 'before' ? [renewal, release] : [release, renewal]) {
      one.resolve(1);
      await yielded();
    }
    await raised;
    await until(() => commands().length >= 3, 'a second RELEASE');
    assert.deepEqual(commands(), ['RENEW', 'RELEASE', 'RELEASE']);
    assert.deepEqual(asked[2], asked[1]);
  });
}

test('a renewal that was refused undoes nothing, nor one beside a response that is stored', options, async () => {
  for (const [end, renewed] of [[(grant) => grant.raised(new Error('x')), false], [(grant) => grant.answered(200, [], Buffer.from('x')), true]]) {
    const renewal = pending();
    const { grant, commands } = claim((words) => (words[0] === 'IDEM.RENEW' ? renewal.promise : ok()));
    await until(() => commands().length === 1, 'a renewal');
    await end(grant);
    if (renewed) renewal.resolve(1);
    else renewal.reject(new Refusal('STALE ABSENT'));
    await yielded();
    assert.equal(commands().length, 2);
  }
});

test('a renewal does not look at a clock that can be set', options, async () => {
  for (const ms of [-3_600_000, 3_600_000]) {
    const { grant, commands } = claim(ok);
    await clockSet(ms, () => until(() => commands().length >= 2, `two renewals, with the clock ${ms} ms away`));
    await grant.raised();
  }
});

// ---- what is told later ----

const task = (attempt, more = {}) => ({ until: performance.now() + OLD, words: ['x'], attempt, ...more });

test('what is refused holds up nothing that comes after it', options, async (t) => {
  const later = new Later();
  t.after(() => later.close());
  let [refused, told] = [0, 0];
  later.add(task(async () => {
    refused += 1;
    throw new Refusal('ERR no');
  }));
  later.add(task(async () => { told += 1; }));
  await until(() => told === 1, 'the second one told');
  await until(() => refused > 1, 'the first one tried again');
  assert.equal(told, 1);
});

test('what fails in a way of its own ends neither the process nor the others', options, async (t) => {
  const later = new Later();
  t.after(() => later.close());
  let told = false;
  later.add(task(() => { throw new TypeError('broken'); }));
  later.add(task(async () => { told = true; }));
  await until(() => told, 'the second one told');
});

test('without the server one attempt in a round is made, and in the end all are told', options, async (t) => {
  const later = new Later();
  t.after(() => later.close());
  let away = true;
  const tried = [];
  for (const name of ['a', 'b']) {
    later.add(task(async () => {
      tried.push(name);
      if (away) throw new NoAnswer('away', false);
    }));
  }
  await until(() => tried.length === 3, 'three rounds');
  assert.deepEqual(tried, ['a', 'a', 'a']);
  away = false;
  await until(() => tried.length === 5, 'both told');
  assert.deepEqual(tried.slice(3), ['a', 'b']);
});

test('what waits is bounded, in number and in bytes, and room comes back', options, async (t) => {
  const later = new Later();
  t.after(() => later.close());
  for (let i = 0; i < 256; i += 1) assert.ok(later.add(task(ok)), String(i));
  assert.equal(later.add(task(ok)), false);
  await until(() => later.add(task(ok)), 'room again');
  const large = new Later();
  t.after(() => large.close());
  const words = ['IDEM.STORE', Buffer.alloc(48 << 20)];
  assert.ok(large.add(task(ok, { words })));
  assert.equal(large.add(task(ok, { words })), false);
  await until(() => large.add(task(ok, { words })), 'room again');
});

test('who finds no room is told, and the time of what waits is no clock that can be set', options, async (t) => {
  const { grant, logger, store } = claim((words) => { throw new NoAnswer(words[0], true); });
  t.after(() => store.later.close());
  for (let i = 0; i < 256; i += 1) store.later.add(task(() => { throw new NoAnswer('away', false); }));
  await grant.answered(200, [], Buffer.from('x'));
  assert.match(logger.lines.join(), /NOT stored.*not tried again/);
  const later = new Later();
  t.after(() => later.close());
  let told = false;
  later.add(task(async () => { told = true; }));
  await clockSet(3_600_000, () => until(() => told, 'what waits, told'));
});

test('claims that are to be given back leave room for a response that is to be stored', options, async (t) => {
  let isAway = true;
  const told = [];
  const client = played((words) => {
    if (isAway) throw new Error('gone');
    told.push(words[0]);
    if (words[0] === 'IDEM.CLAIM') throw new Error('ERR nothing to give back');
    return 1;
  });
  const settings = checked({ client });
  const store = new Store(settings);
  t.after(() => store.close());
  const claiming = new Claiming(store, settings);
  const left = () => new AbortController().signal;
  const asked = Array.from({ length: 300 }, (_, i) => claiming.ask({ record: `r${i}`, fingerprint: null, born: null, left }));
  for (const { status, reason } of await Promise.allSettled(asked)) assert.ok(status === 'rejected' && reason.sent);
  const logger = memory();
  const grant = new Grant({ store, log: new Log(logger), settings, emit: () => {} }, 'http:record', { token: 7, attempt: 1, stage: null });
  await grant.answered(200, [], Buffer.from('x'));
  assert.match(logger.lines.join(), /NOT stored/);
  assert.doesNotMatch(logger.lines.join(), /not tried again/);
  isAway = false;
  await until(() => told.includes('IDEM.STORE'), 'the response stored');
  await until(() => told.includes('IDEM.CLAIM'), 'a claim given back');
});

// ---- events and logs ----

test('an onEvent or a log that fails, at once or later, ends nothing', options, async () => {
  const failing = [() => { throw null; }, () => { throw new Error('x'); }, () => Promise.reject(new Error('x'))]; // eslint-disable-line no-throw-literal
  for (const onEvent of failing) {
    const logger = memory();
    emitter({ onEvent }, new Log(logger), 'POST', () => '/')('stored', {});
    await until(() => logger.lines.length === 1, 'a line');
    assert.match(logger.lines[0], /^error onEvent: /);
  }
  const log = new Log({ error: failing[1], warn: failing[1] });
  for (const level of ['error', 'warn', 'refused', 'warnOnce']) log[level]('x');
});
