/** Methods of an ioredis or node-redis client that this package uses. */
export type RedisClient =
  | { callBuffer(...words: any[]): Promise<unknown>; duplicate(...options: any[]): any }
  | { sendCommand(...words: any[]): Promise<unknown>; duplicate(...options: any[]): any };

export type EventName =
  | 'claimed' | 'replayed' | 'in_progress' | 'mismatch' | 'unknown' | 'forgotten' | 'refused' | 'unavailable'
  | 'stored' | 'shared' | 'not_kept' | 'released' | 'unsure' | 'overtaken' | 'not_stored' | 'renewal_failed' | 'lost'
  | 'fail_open';

export interface EventFields {
  method: string;
  path: string;
  /** of the response, when there is one */
  status: number | null;
  /** of the claim, when there is one */
  attempt: number | null;
  /** since the request came */
  ms: number;
}

/** Settings of connections and claims. Durations are whole milliseconds. */
export interface ClaimSettings {
  /** Default: the environment's IDEM_URL, or redis://127.0.0.1:4336. */
  url?: string;
  /** A client of ioredis or node-redis, which says where the server is and how to get in; it is never closed here. One that
   * sends nothing again by itself is used too (README: A client of your own), else only duplicates of it. Default: url. */
  client?: RedisClient | null;
  /** First part of the record's key: two services on one server. Default 'http'; of a job 'job'. */
  prefix?: string;
  /** How long a duplicate waits for the first, 0 to 60,000. Default 0. */
  waitMs?: number;
  /** So many wait at once, each over a connection of its own. Default 256. */
  maxWaiting?: number;
  /** After so long a dead process is replaced. Renewed while the work runs. Default 15,000. */
  leaseMs?: number;
  /** Work that hangs is renewed no longer. Default 600,000. */
  renewForMs?: number;
  /** How long a response is kept. Default 24 h. */
  ttlMs?: number;
  /** After a crash or an error nobody runs it again until somebody has looked. Default false. */
  hold?: boolean;
  /** For each answer of the server; one retry. Default 2,000. */
  timeoutMs?: number;
  /** For metrics. What it throws is logged and ignored. */
  onEvent?: ((name: EventName, fields: EventFields) => unknown) | null;
  /** Default: console, or Fastify's. */
  logger?: { error(text: string): void; warn(text: string): void } | null;
}

/** null: callers that are nobody in particular share their keys. */
export type Scope = string | number | bigint | null | undefined;

/** Request: what the framework calls one (of Koa and Hono: the context). */
export interface Settings<Request = any> extends ClaimSettings {
  /** Guarded methods; GET, HEAD and OPTIONS never are. Default POST, PATCH. */
  methods?: string[];
  /** Default Idempotency-Key. */
  header?: string;
  /** 400 without a key. Default false. */
  required?: boolean;
  /** Who the caller is: each has keys of its own. Default: the authenticated user, or else a digest of Authorization.
   * Anything else than a text, a whole number or none is an error, and the request is not run. */
  scope?: ((request: Request) => Scope | Promise<Scope>) | null;
  /** [method, path] of the operation. Default: those of the request. */
  operation?: ((request: Request) => [string, string] | Promise<[string, string]>) | null;
  /** When the first try was made: 'uuid7' (in the key), a header's name, or a function that gives unix milliseconds. */
  born?: 'uuid7' | (string & {}) | ((request: Request) => number | null | undefined | Promise<number | null | undefined>) | null;
  /** Of an answer that the first still runs. Default 409. */
  busyStatus?: 409 | 408;
  /** Which statuses are kept. Default: below 500, but 401, 408, 409, 423, 425, 429. */
  keep?: (status: number) => boolean | Promise<boolean>;
  /** Bytes of a response that is kept. Default 1 MiB. */
  bodyLimit?: number;
  /** Bytes of a request with a key. Default 16 MiB. */
  requestLimit?: number;
  /** More names of headers that are not stored. */
  dropHeaders?: string[];
  /** Without the server run unguarded. Default false. */
  failOpen?: boolean;
  /** What stands before a problem's type. Default 'urn:idem:'. */
  problemBase?: string;
  /** With it every problem has a Link. */
  docsUrl?: string | null;
  /** Requests that pass unguarded. */
  skip?: ((request: Request) => unknown) | null;
}

/** What a handler is given; null when its request is not guarded. */
export interface Claim {
  /** Give it to what you write to; let that refuse a lower one. */
  readonly token: number;
  /** 1 + the number of earlier grants that may have acted. */
  readonly attempt: number;
  /** What the former owner has left with setStage(). */
  readonly stage: string | null;
  /** A renewal has learned that another owner took over. */
  readonly lost: boolean;
  /** Tells the next owner how far this one got; at most 1 KiB. Rejects when that could not be told. */
  setStage(text: string): Promise<void>;
  /** The next one runs as attempt 1, whatever is answered now. */
  didNothing(): void;
  /** false: the response is shared with those who wait, and not kept; a number: it is kept for so many milliseconds,
   * 31 days at most. */
  keep(howLong: boolean | number): void;
}

/** Thrown by work that knows that it has done nothing: the next one runs as attempt 1. Answered with its status. */
export class DidNothing extends Error {
  constructor(message?: string, options?: { status?: number; cause?: unknown });
  readonly status: number;
}

export { job, JobSettings, NotRun, InProgress, KeyReused, OutcomeUnknown, Forgotten, NotKept, Unavailable } from './job';
