/* events.js - onEvent, for metrics. What it raises is logged and ignored, also when it is asynchronous. */
'use strict';

const told = async (tell) => tell();

/* path(): asked only when there is a listener. Returns emit(name, {status, attempt}). */
function emitter({ onEvent }, log, method, path) {
  if (onEvent === null) return () => {};
  const began = process.hrtime.bigint();
  return (name, { status = null, attempt = null }) => {
    const ms = Number(process.hrtime.bigint() - began) / 1e6;
    told(() => onEvent(name, { method, path: path(), status, attempt, ms })).catch((error) => log.error(`onEvent: ${error?.message ?? error}`));
  };
}

module.exports = { emitter };
