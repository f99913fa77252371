const { createClient } = require('redis');
const { randomUUID } = require('node:crypto');
const { KEY, BORN, HOLD, WORK } = process.env;
(async () => {
  // SNIPPET
  async function work() {
    if (WORK === 'nothing') throw new DidNothing('the bank is closed');
    console.log('ran');
    if (WORK === 'timeout') throw new RangeError('the answer timed out');
    return 'the response';
  }

  let status = 0;
  try {
    console.log('answer', (await once(KEY, work, { born: BORN, hold: HOLD })) ?? '(none)');
  } catch (error) {
    const failed = error instanceof DidNothing || error instanceof RangeError;
    if (!failed && !(error instanceof Forgotten)) throw error;
    console.log(failed ? 'failed' : 'forgotten');
    status = failed ? 1 : 0;
  }
  process.exit(status);
})();
