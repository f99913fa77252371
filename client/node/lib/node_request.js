/*
 * node_request.js - what a guard asks of a request of node:http or node:http2 (its compatibility API).
 *
 * The body is read before anything parses it and given back whole: whoever reads the request afterwards finds it as if
 * nobody had been there.
 */
'use strict';

const { createHash } = require('node:crypto');
const { readFile } = require('node:fs/promises');
const { bodyPieces, parsedPieces } = require('./fingerprint.js');
const { TooLarge } = require('./guard.js');

/* The values of all lines with that name; req.headers has joined them, or dropped all but one. */
function headerValues(req, name) {
  const values = [];
  for (let i = 0; i < req.rawHeaders.length; i += 2) {
    if (req.rawHeaders[i].toLowerCase() === name) values.push(req.rawHeaders[i + 1]);
  }
  return values;
}

// All has arrived, though perhaps not all was read. There is no public name for this: `complete` is something else
// over HTTP/2, and 'end' comes too late, for then nothing can be given back.
const hasArrived = (req) => req._readableState.ended;

// As the body parsers say it, so that it is logged as that: nobody gets this answer.
const aborted = () => Object.assign(new Error('request aborted'), { code: 'ECONNABORTED', status: 400, statusCode: 400, expose: true });

/* All bytes of a stream that nobody has read, which it has again afterwards. Throws TooLarge, or why it broke off. */
function readAndGiveBack(req, limit) {
  return new Promise((resolve, reject) => {
    const chunks = [];
    let size = 0;
    const settle = (end, value) => {
      req.removeListener('readable', read);
      req.removeListener('error', fail);
      req.removeListener('close', leave);
      end(value);
    };
    const fail = (error) => settle(reject, error);
    const leave = () => fail(aborted());
    const giveBack = () => {
      const body = Buffer.concat(chunks, size);
      if (size > 0) req.unshift(body); // in the turn of the read: in the next one the stream has ended
      return body;
    };
    // An empty stream is not read at all, for the read would end it before its consumer listens.
    const read = () => {
      while (req.readableLength > 0) {
        const chunk = req.read();
        if (chunk === null) break;
        chunks.push(chunk);
        size += chunk.length;
      }
      if (size > limit) return settle(reject, new TooLarge());
      if (!hasArrived(req)) return;
      if (req.aborted) leave(); // over HTTP/2 the stream of a client that has left just ends
      else settle(resolve, giveBack());
    };
    if (hasArrived(req)) return read();
    if (req.destroyed) return leave();
    req.on('error', fail);
    req.on('close', leave);
    req.on('readable', read);
  });
}

async function digestOfFile(file) {
  const bytes = file.buffer ?? file.data ?? (file.path && await readFile(file.path));
  if (!bytes || bytes.length === 0 && file.size > 0) throw consumed();
  return createHash('sha256').update(bytes).digest('hex');
}

// multer: one file, an array, or an object of arrays; express-fileupload: an object of files or arrays.
const filesOf = (req) => [req.file, ...(Array.isArray(req.files) ? [req.files] : Object.values(req.files ?? {}))]
  .flat().filter(Boolean);

const consumed = () => new Error('idem: the body was read before idempotency() saw it; move it outside of the body parser,'
  + " or let the parser keep the bytes as req.rawBody");

/* What something outside has made of the body. Never an empty body for one that was consumed: that would make all
 * requests equal. */
async function keptPieces(req, contentType) {
  if (req.rawBody !== undefined) return bodyPieces(Buffer.from(req.rawBody), contentType);
  if (req.body === undefined && filesOf(req).length === 0) throw consumed();
  if (Buffer.isBuffer(req.body) || typeof req.body === 'string') return bodyPieces(Buffer.from(req.body), contentType);
  const files = await Promise.all(filesOf(req).map(async (file) => [
    file.fieldname ?? '', file.originalname ?? file.name ?? '', await digestOfFile(file)]));
  return parsedPieces(req.body ?? {}, files);
}

// Nothing is announced, so nothing comes: over HTTP/1 the stream of such a request ends by itself.
const isBodiless = (req) => req.httpVersionMajor < 2 && req.headers['transfer-encoding'] === undefined &&
  (req.headers['content-length'] === undefined || Number(req.headers['content-length']) === 0);

/* Node destroys the request of a client that has left, with what of it was not read yet; the handler goes on, and reads. */
function stayReadable(req) {
  const { destroy } = req;
  req.destroy = (error) => (error?.code === 'ECONNRESET' ? req : destroy.call(req, error));
}

/* holder: where rawBody, body and files are; stream: what the parser will read. Both are req, unless the framework says otherwise. */
async function pieces(req, limit, where) {
  const found = await piecesOf(req, limit, where);
  stayReadable(req); // no sooner: a request that breaks off while it is read is an error
  return found;
}

async function piecesOf(req, limit, { holder = req, stream = req } = {}) {
  const contentType = req.headers['content-type'] ?? '';
  if (isBodiless(req)) return [Buffer.alloc(0)];
  if (Number(req.headers['content-length']) > limit) throw new TooLarge();
  if (stream.readableDidRead || holder.rawBody !== undefined) return keptPieces(holder, contentType);
  return bodyPieces(await readAndGiveBack(stream, limit), contentType);
}

/* An AbortSignal that is aborted when the client leaves before its response was sent. */
function left(res) {
  const leaving = new AbortController();
  if (res.destroyed) leaving.abort();
  res.once('close', () => {
    if (!res.writableFinished) leaving.abort();
  });
  return leaving.signal;
}

/* Calls it when the response has been sent, or cannot be any more. */
function whenClosed(res, call) {
  if (res.closed) call();
  else res.once('close', call);
}

/* The id of whom a framework has authenticated, or the whole of what it says when there is none. */
const idOf = (user, auth) => memberOf(user, 'id') ?? memberOf(user, 'sub') ?? memberOf(auth, 'sub') ?? user;

/* Of an object alone: a text has a method sub(). */
const memberOf = (value, name) => (value !== null && typeof value === 'object' ? value[name] : undefined);

module.exports = { headerValues, pieces, left, whenClosed, idOf };
