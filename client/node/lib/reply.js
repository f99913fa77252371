/* reply.js - replies of the server as objects. Bulk strings come as Buffers, numbers as numbers or texts. */
'use strict';

const text = (value) => (value === null || value === undefined ? null : String(value));

const SHAPES = {
  CLAIMED: ([token, leaseMs, attempt, stage]) => ({ token: Number(token), leaseMs: Number(leaseMs), attempt: Number(attempt), stage: text(stage) }),
  DONE: ([body, meta]) => ({ body, meta: text(meta) }),
  BUSY: () => ({}),
  UNKNOWN: () => ({}),
  LAPSED: () => ({}),
  FORGOTTEN: () => ({}),
};

/* {status, ...}; a null reply, of FETCH, has the status ABSENT. Throws for what no such reply is. */
function parsed(reply) {
  if (reply === null) return { status: 'ABSENT' };
  const [status, ...fields] = Array.isArray(reply) ? reply : [];
  const shape = SHAPES[String(status)];
  if (!shape) throw new Error('the server is not idem, or of another version');
  return { status: String(status), ...shape(fields) };
}

module.exports = { parsed };
