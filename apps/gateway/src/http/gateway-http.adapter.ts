import { FastifyAdapter } from '@nestjs/platform-fastify';

/**
 * Nest's Fastify adapter without Nest's own answers: what is not found, what fails and how bodies are parsed is the API
 * server's business, so that every answer is a problem document.
 */
export class GatewayHttpAdapter extends FastifyAdapter {
  override setNotFoundHandler(): ReturnType<FastifyAdapter['setNotFoundHandler']> {
    // The API server has set its own.
    return this.instance;
  }

  override setErrorHandler(): ReturnType<FastifyAdapter['setErrorHandler']> {
    // The API server has set its own.
    return this.instance;
  }

  override registerParserMiddleware(): void {
    // The API server has set its own.
  }
}
