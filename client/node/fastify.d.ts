import { Claim, DidNothing, Settings } from './index';

export { DidNothing };

/** A plugin; the claim is request.idempotency, settings of a route are config.idempotency. */
export function idempotency(app: any, settings: Settings): Promise<void>;

declare module 'fastify' {
  interface FastifyRequest {
    idempotency: Claim | null;
  }
  interface FastifyContextConfig {
    idempotency?: Settings;
  }
}
