const { createClient } = require('redis');
const key = process.env.KEY, call = process.env.CALL;
let answer;
const work = async () => { console.log('ran'); return 'the response'; };
(async () => {
  // SNIPPET
  console.log('answer', answer ?? '(none)');
  process.exit(0);
})();
