import { DidNothing, Settings } from './index';

export { DidNothing };

export interface Middleware {
  /** The claim is ctx.state.idempotency. */
  (ctx: any, next: () => Promise<any>): Promise<any>;
  /** The same with other settings, for a route. */
  with(settings: Settings): Middleware;
  /** Closes the connections that were opened here. */
  close(): void;
}

export function idempotency(settings?: Settings): Middleware;
