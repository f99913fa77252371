import { IncomingMessage, ServerResponse } from 'http';
import { Claim, DidNothing, Settings } from './index';

export { DidNothing };

type Next = (error?: any) => void;

export interface Middleware {
  (req: IncomingMessage, res: ServerResponse, next: Next): void;
  /** The same with other settings, for a route. */
  with(settings: Settings): Middleware;
  /** Closes the connections that were opened here. */
  close(): void;
}

export const idempotency: {
  (settings?: Settings): Middleware;
  /** The last app.use(): an exception is seen before Express makes a 500 of it. */
  errors(error: any, req: IncomingMessage, res: ServerResponse, next: Next): void;
};

declare global {
  namespace Express {
    interface Request {
      idempotency?: Claim | null;
    }
  }
}
