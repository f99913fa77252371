const { Redis } = require('ioredis');
const { once } = require('node:events');
const { setTimeout } = require('node:timers/promises');
const key = process.env.KEY, call = process.env.CALL;
let answer;
const work = async () => { console.log('ran'); return 'the response'; };
(async () => {
  // SNIPPET
  console.log('answer', answer ?? '(none)');
  process.exit(0);
})();
