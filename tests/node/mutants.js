// The tests have to be able to fail: each mutant is the package with one place changed, and the test that is about it has to fail
// on it. usage: mutants.js [TEXT]: those with this text in the file's or the test's name.
'use strict';

const { spawnSync } = require('node:child_process');
const { cpSync, readFileSync, rmSync, writeFileSync } = require('node:fs');
const path = require('node:path');
const { ROOT, PACKAGES } = require('./world.js');

const BUILD = path.join(ROOT, 'build/node-mutants');
const MUTANT_MS = 20_000; // over it, something is left that does not end
const TEST_MS = '4000'; // a mutant that hangs has failed

// [file, what is there, what stands there instead, test file, the beginning of the test's name]
const MUTANTS = [
  // who the caller is
  ['lib/given.js', 'if (!isText(value)) throw', 'if (false) throw', 'behaviour', 'a scope that is no text'],
  ['lib/given.js', 'Number.isSafeInteger(value);\n', "typeof value === 'number';\n", 'behaviour', 'a scope that is no text'],
  ['lib/guard.js', "if (user !== null && user !== undefined) return textOf(user, ", 'if (false) return textOf(user, ', 'behaviour', 'a user without an id'],
  ['lib/node_request.js', "?? memberOf(auth, 'sub') ?? user;", "?? memberOf(auth, 'sub');", 'behaviour', 'a user without an id'],
  ['lib/node_request.js', "value !== null && typeof value === 'object' ? value[name] : undefined", 'value?.[name]', 'behaviour', 'koa: a user that is a text'],
  ['lib/guard.js', 'pairOf(await settings.operation(request.native))', 'await settings.operation(request.native)', 'behaviour', 'what operation and born'],
  ['lib/guard.js', 'return msOf(await born(request.native));', 'return (await born(request.native)) ?? null;', 'behaviour', 'what operation and born'],
  // which job it is
  ['job.js', 'jobRecord(this.#settings.prefix, this.#name, String(key))', "jobRecord(this.#settings.prefix, 'job', String(key))", 'behaviour', 'two jobs with equal keys'],
  ['job.js', "key === '' || !isText(key)", "key === ''", 'behaviour', 'a key that is no text'],
  ['job.js', 'msOf(await born(...args))', 'await born(...args)', 'behaviour', 'a key that is no text'],
  ['lib/key.js', '${escaped(prefix)}:', '${prefix}:', 'core', 'the record of a job'],
  ['lib/key.js', ':${escaped(name)}:', ':${name}:', 'core', 'the record of a job'],
  ['lib/key.js', "'%25' : '%3A'", "'%' : '%3A'", 'core', 'the record of a job'],
  ['lib/key.js', '\\p{Surrogate}', 'nothing', 'behaviour', 'a key that is no text'],
  ['lib/fingerprint.js', 'if (showsNothing(value)) throw', 'if (false) throw', 'behaviour', 'a key that is no text'],
  // claims
  ['lib/grant.js', 'return await this.#context.settings.keep(status);', 'return this.#context.settings.keep(status);', 'claims', 'a keep that fails'],
  ['lib/grant.js', 'const keeps = await this.#keeps(status);\n    if (!this.#end()) return null;', 'if (!this.#end()) return null;\n    const keeps = this.#context.settings.keep(status);', 'claims', 'an async keep is awaited'],
  ['lib/grant.js', 'const keeps = await this.#keeps(status);\n    if (!this.#end()) return null;', 'if (!this.#end()) return null;\n    const keeps = await this.#keeps(status);', 'claims', 'the claim is renewed while keep'],
  ['lib/grant.js', ' && howLong <= TTL_LIMIT_MS', '', 'claims', 'keep() takes no more'],
  ['lib/grant.js', "    clearTimeout(this.#timer);\n    if (this.#over || this.lost ||", '    if (this.#over || this.lost ||', 'claims', 'stages that are told'],
  ['lib/grant.js', "this.#undo('renewedLate');", '{}', 'claims', 'a renewal that is granted before'],
  ['lib/grant.js', "if (how.length > 0) this.#undo('unsure');", '', 'claims', 'a renewal that is granted after'],
  ['lib/grant.js', 'if (!this.#renewedLate || !this.#unsure) return;', 'if (!this.#renewedLate) return;', 'claims', 'a renewal that was refused undoes nothing'],
  ['lib/grant.js', 'performance.now() + pause > this.#began', 'Date.now() - performance.timeOrigin + pause > this.#began', 'claims', 'a renewal does not look'],
  ['lib/grant.js', 'status >= 500 && ttlMs === 0 ?', 'status >= 500 && !keeps ?', 'claims', 'a 5xx is unsure'],
  ['lib/grant.js', 'body === null || !isReplayable(status) ?', 'body === null ?', 'claims', 'a status that not every'],
  ['lib/meta.js', 'isReplayable(status) && Array', 'Array', 'core', 'META is what it was'],
  // who waits
  ['lib/store.js', "if (left.aborted) throw new NoAnswer('the caller has left', false);", '', 'claims', 'a caller that leaves before it waits'],
  ['lib/store.js', 'connection?.close();', 'if (connection && !left.aborted) connection.close();', 'claims', 'a caller that leaves while its connection is opened'],
  ['lib/store.js', 'connection?.close();', 'if (connection && !left.aborted) connection.close();', 'behaviour', 'ioredis: a caller that leaves at any moment'],
  ['lib/connection.js', 'if (sendsLater(client)) return null;', '', 'core', 'of a client that sends again later'],
  ['lib/store.js', "if (isOver) throw new Error('too late');", '', 'claims', 'what was given up before'],
  ['lib/held_response.js', 'this.#correctLength(body.length);', '', 'behaviour', 'a length that is wrong'],
  ['job.js', " ?? '';", ';', 'behaviour', 'a job that gives a function'],
  // what is told later
  ['lib/claiming.js', 'this.#store.givingBack.add(', 'this.#store.later.add(', 'claims', 'claims that are to be given back'],
  ['lib/later.js', 'if (outcome === AWAY || this.#closed) break;', 'if (outcome !== TOLD || this.#closed) break;', 'claims', 'what is refused holds up nothing'],
  ['lib/later.js', 'if (outcome === AWAY || this.#closed) break;', '', 'claims', 'without the server one attempt'],
  ['lib/later.js', 'if (error instanceof NoAnswer) return AWAY;', 'if (!error.code) return AWAY;', 'claims', 'what fails in a way of its own'],
  ['lib/later.js', 'this.#tasks.size >= LIMIT ||', '', 'claims', 'what waits is bounded'],
  ['lib/later.js', ' || this.#size + size > LIMIT_BYTES', '', 'claims', 'what waits is bounded'],
  ['lib/later.js', 'if (this.#tasks.delete(task)) this.#size -= task.size;', 'this.#tasks.delete(task);', 'claims', 'what waits is bounded'],
  ['lib/later.js', 'const now = performance.now();', 'const now = Date.now() - performance.timeOrigin;', 'claims', 'who finds no room'],
  ['lib/grant.js', 'if (!hasRoom) ', 'if (false) ', 'claims', 'who finds no room'],
  // how a request ends
  ['express.js', 'decided(guard, req, res).then((runs) => runs && goOn(res, next), next);', 'decided(guard, req, res).then((runs) => runs && next(), next);', 'ends', 'a handler that throws where nobody'],
  ['express.js', 'if (isSent(res)) {', 'if (false) {', 'ends', 'express: a time-out that answers'],
  ['fastify.js', 'if (reply.sent || isSent(reply.raw)) {', 'if (false) {', 'ends', 'fastify: a time-out that answers'],
  ['koa.js', 'if (isSent(ctx.res)) return', 'if (false) return', 'ends', 'koa: a time-out that answers'],
  ['lib/held_response.js', 'if (this.#holds) this.#stepAside();', '', 'ends', 'express: something that has kept'],
  ['lib/held_response.js', 'end.catch((error) => this.#broken(error));', '', 'ends', 'a status message that cannot be sent'],
  ['lib/held_response.js', 'if (code < 100 || code > 999) throw', 'if (false) throw', 'ends', 'a status that does not exist'],
  ['lib/held_response.js', "if (res.destroyed || res.stream?.destroyed) this.#leave();", '', 'ends', 'express: a client that leaves at any moment'],
  ['lib/held_response.js', 'if (this.#state === FLOWING && this.#left && !this.#grant.hasTime) this.#giveUp();', '', 'ends', 'express: a source without an end'],
  ['lib/body.js', 'while (this.#grant.hasTime) {', 'for (;;) {', 'ends', 'koa: a source without an end'],
  ['koa.js', 'whenClosed(ctx.res, () => flow.drain());', '', 'ends', 'koa: a client that leaves before a long'],
  ['lib/held_response.js', 'const code = status | 0;', 'const code = status;', 'ends', 'a status that is a text'],
  ['lib/held_response.js', '    this.#grant.raised(error);\n    this.#cut();', '    this.#cut();', 'ends', 'plain: an exception when the response flows'],
  ['express.js', '    run?.held.fail(error);\n', '', 'ends', 'express: an exception when the response flows'],
  ['express.js', 'if (run?.held.isSettling) return', 'if (false) return', 'ends', 'express: a handler that throws after it has ended its response (not_kept)'],
  ['koa.js', '  if (!held.isHeld) {', '  if (false) {', 'ends', 'koa: an exception with a status below 500'],
  ['koa.js', '  if (!held.isHeld) {', '  if (false) {', 'ends', 'koa: a handler that throws after it has ended'],
  ['lib/held_response.js', 'return this.#ended && this.#state !== OPEN;', 'return this.#state === SETTLING;', 'ends', 'plain: a handler that throws after it has ended its response (not_kept)'],
  // a server that fails
  ['lib/connection.js', '    // that is what was wanted\n', '    throw new Error();\n', 'load', 'redis: a server that fails'],
  ['lib/claiming.js', "if (reply.status === 'CLAIMED') await", "if (false) await", 'load', 'ioredis: a server that fails at any command is one execution in the end (hold true)'],
  ['lib/grant.js', 'this.#storeLater(what.words, stored);', '', 'load', 'ioredis: a server that fails at any command is one execution in the end (hold false)'],
  // logs and events
  ['lib/events.js', 'const told = async (tell) => tell();', 'const told = (tell) => { tell(); return Promise.resolve(); };', 'claims', 'an onEvent or a log'],
  ['lib/log.js', 'this.#logger[level](text);\n    } catch {', 'this.#logger[level](text);\n    } finally {', 'claims', 'an onEvent or a log'],
];

const escaped = (text) => text.replace(/[.*+?^${}()|[\]\\]/g, '\\$&');

/* null when the test fails as it should, else what is wrong. */
function judged([file, from, to, suite, name], number) {
  const folder = path.join(BUILD, String(number));
  cpSync(path.join(ROOT, 'client/node'), folder, { recursive: true });
  const text = readFileSync(path.join(folder, file), 'utf8');
  if (!text.includes(from)) return 'its place is not there any more';
  writeFileSync(path.join(folder, file), text.replace(from, () => to));
  const words = ['--test', '--test-name-pattern', `^${escaped(name)}`, path.join(__dirname, `${suite}.test.js`)];
  const done = spawnSync(process.execPath, words, { cwd: PACKAGES, encoding: 'utf8', timeout: MUTANT_MS, env: { ...process.env, IDEM_TEST_PACKAGE: folder, IDEM_TEST_LIMIT_MS: TEST_MS } });
  if (done.error?.code === 'ETIMEDOUT') return null;
  if (!/^# (pass|fail|cancelled) [1-9]/m.test(done.stdout)) return `no test ran: ${done.stderr}`;
  return done.status === 0 ? 'the test passes' : null;
}

rmSync(BUILD, { recursive: true, force: true });
let [tried, passed] = [0, 0];
for (const [number, mutant] of MUTANTS.entries()) {
  if (!`${mutant[0]} ${mutant[4]}`.includes(process.argv[2] ?? '')) continue;
  tried += 1;
  const wrong = judged(mutant, number);
  if (wrong === null) continue;
  passed += 1;
  console.log(`FAILED: ${mutant[0]}: ${mutant[1].trim()} -> ${mutant[2].trim()} (${mutant[3]}: ${mutant[4]}): ${wrong}`);
}
console.log(`node mutants: ${tried} mutants, ${passed} of them passed`);
process.exitCode = passed > 0 || tried === 0 ? 1 : 0;
