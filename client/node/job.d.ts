import { Claim, ClaimSettings, DidNothing } from './index';

export { DidNothing };

export type Key = string | number | bigint;

export interface JobSettings<Arguments extends unknown[]> extends ClaimSettings {
  /** Which kind of work it is, 1 to 256 characters: jobs with other names have keys of their own. */
  name: string;
  /** Which job of that name it is: the same for every try, different for every job. */
  key: (...args: Arguments) => Key | Promise<Key>;
  /** What has to be the same in every try; otherwise KeyReused. Default: not compared. */
  input?: (...args: Arguments) => unknown;
  /** When the job was made (unix milliseconds); never the time of this try. */
  born?: (...args: Arguments) => number | null | undefined | Promise<number | null | undefined>;
}

/** The work was not run by this call. */
export class NotRun extends Error {
  /** Whether another call may run it, or get its result. */
  readonly retryable: boolean;
}
/** It runs already. */
export class InProgress extends NotRun {}
/** The key was used for another input. */
export class KeyReused extends NotRun {}
/** It may have run, and `hold` is set: somebody has to look. */
export class OutcomeUnknown extends NotRun {}
/** It is so old that its result may be forgotten. */
export class Forgotten extends NotRun {}
/** It has run, but its result was too big to be kept. */
export class NotKept extends NotRun {}
/** The server cannot be asked. */
export class Unavailable extends NotRun {}

export interface Job<Arguments extends unknown[], Result> {
  (...args: Arguments): Promise<Result>;
  /** Closes the connections that were opened here. */
  close(): void;
}

/** Wraps work so that it runs once for each key; its result is kept as JSON. */
export function job<Arguments extends unknown[], Result>(
  settings: JobSettings<Arguments>,
  work: (...args: [...Arguments, Claim]) => Result | Promise<Result>,
): Job<Arguments, Result>;
