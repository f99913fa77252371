/* target.js - the path and the query inside the target of a request, as bytes. */
'use strict';

/* "%41" as the byte 0x41; what is no such sequence stays as it is. */
function percentDecoded(path) {
  const bytes = Buffer.from(path, 'latin1');
  if (!bytes.includes(0x25)) return bytes;
  const decoded = path.replace(/%([0-9a-f]{2})/gi, (_, code) => String.fromCharCode(parseInt(code, 16)));
  return Buffer.from(decoded, 'latin1');
}

/* target: "/path?query", or with a scheme and a host before it. */
function parsedTarget(target) {
  const local = target.replace(/^[a-z][a-z0-9+.-]*:\/\/[^/?#]*/i, '');
  const mark = local.indexOf('?');
  const path = percentDecoded(mark < 0 ? local : local.slice(0, mark));
  return { path: path.length > 0 ? path : Buffer.from('/'), query: Buffer.from(mark < 0 ? '' : local.slice(mark + 1), 'latin1') };
}

module.exports = { parsedTarget };
