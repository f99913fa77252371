/*
 * connection.js - one connection to the server through ioredis or node-redis.
 *
 * The only file that knows the two. A connection is {call(words) -> reply, close()}; in a reply bulk strings
 * are Buffers. One that this file opens neither connects again by itself nor sends anything again: the store
 * decides that, because it knows which commands may be.
 */
'use strict';

const NAME = 'idem-node';
const BULK_STRING = 36; // RESP_TYPES.BLOB_STRING of node-redis: the character '$'
// node-redis 4 reads the first, 5 and newer the second.
const AS_BUFFERS = { returnBuffers: true, typeMapping: { [BULK_STRING]: Buffer } };

const asText = (word) => (Buffer.isBuffer(word) ? word : String(word));

/* What is asked in one turn of the loop leaves in one write: ioredis makes one of each command. */
function together(stream) {
  if (!stream || stream.writableCorked > 0) return;
  stream.cork();
  setImmediate(() => stream.uncork());
}

const overIoredis = (client) => ({
  call: ([name, ...words]) => {
    together(client.stream);
    return client.callBuffer(name, ...words);
  },
  close: () => client.disconnect(),
});

/* node-redis refuses to close what is closed already: version 4 by a promise, 5 at once. */
async function closeNodeRedis(client) {
  try {
    await (client.destroy ? client.destroy() : client.disconnect());
  } catch {
    // that is what was wanted
  }
}

const overNodeRedis = (client) => ({
  call: (words) => client.sendCommand(words.map(asText), AS_BUFFERS),
  close: () => closeNodeRedis(client),
});

const isIoredis = (client) => typeof client.callBuffer === 'function';

/* Such a client sends again after a reconnection what was timed out here, perhaps when the lease is over: a claim of
 * nobody. */
function sendsLater(client) {
  const { enableOfflineQueue, autoResendUnfulfilledCommands, disableOfflineQueue } = client.options ?? {};
  return isIoredis(client) ? enableOfflineQueue !== false || autoResendUnfulfilledCommands !== false : disableOfflineQueue !== true;
}

/* A client that the application has opened, which is never closed here. Null: it sends again by itself, and only its
 * duplicates may be used. */
function given(client) {
  if (sendsLater(client)) return null;
  const { call } = isIoredis(client) ? overIoredis(client) : overNodeRedis(client);
  return { call, close: () => {} };
}

const ioredisOptions = (timeoutMs) => ({
  lazyConnect: true,
  enableReadyCheck: false,
  enableOfflineQueue: false,
  autoResendUnfulfilledCommands: false,
  maxRetriesPerRequest: 0,
  retryStrategy: () => null,
  connectTimeout: timeoutMs,
  connectionName: NAME,
});

const nodeRedisOptions = (timeoutMs) => ({
  socket: { connectTimeout: timeoutMs, reconnectStrategy: false },
  disableOfflineQueue: true,
  name: NAME,
});

async function connected(client, connection) {
  let reason = null; // ioredis says here why, and rejects with no more than "Connection is closed."
  client.on('error', (error) => { reason = error; });
  try {
    await client.connect();
    return connection;
  } catch (error) {
    connection.close();
    throw reason ?? error;
  }
}

/* Another connection to where the application's client is connected. */
function duplicate(client, timeoutMs) {
  if (isIoredis(client)) {
    const copy = client.duplicate(ioredisOptions(timeoutMs));
    return connected(copy, overIoredis(copy));
  }
  const options = nodeRedisOptions(timeoutMs);
  const copy = client.duplicate({ ...options, socket: { ...client.options?.socket, ...options.socket } });
  return connected(copy, overNodeRedis(copy));
}

/* Also from where the application is: a package installed from a directory is a link, and Node looks beside its target. */
function installed(name) {
  try {
    return require(require.resolve(name, { paths: [__dirname, require.main?.path ?? process.cwd(), process.cwd()] }));
  } catch (error) {
    if (error.code === 'MODULE_NOT_FOUND') return null;
    throw error;
  }
}

/* Returns opener(timeoutMs) -> connection, by the client library that is installed. Throws when there is none. */
function opener(url) {
  const ioredis = installed('ioredis');
  if (ioredis) {
    const Redis = ioredis.Redis ?? ioredis;
    return (timeoutMs) => {
      const client = new Redis(url, ioredisOptions(timeoutMs));
      return connected(client, overIoredis(client));
    };
  }
  const redis = installed('redis');
  if (!redis) throw new Error("idem: install a Redis client: 'npm install ioredis' or 'npm install redis', or give one as the setting 'client'");
  return (timeoutMs) => {
    const client = redis.createClient({ url, ...nodeRedisOptions(timeoutMs) });
    return connected(client, overNodeRedis(client));
  };
}

module.exports = { given, duplicate, opener };
