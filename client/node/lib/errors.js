/* errors.js - how a command to the server can fail. */
'use strict';

/* The server answered with an error. code is its first word; kind the second, of STALE and TOOBIG. */
class Refusal extends Error {
  constructor(message) {
    super(message);
    [this.code, this.kind] = message.split(' ', 2);
  }
}

/* No answer was seen. sent: the command may have reached the server, and may have taken effect. */
class NoAnswer extends Error {
  constructor(reason, sent) {
    super(reason);
    this.sent = sent;
  }
}

module.exports = { Refusal, NoAnswer };
