import { randomUUID } from 'node:crypto';
import { STATUS_CODES } from 'node:http';
import { FastifyAdapter } from '@nestjs/platform-fastify';
import { fastify } from 'fastify';
import { problemOf, problemOfConnection } from '../http/problem';

/**
 * Nest's Fastify adapter without Nest's own answers: what is not found, what fails and how bodies are parsed is the API
 * server's business, so that every answer is a problem document.
 */
class GatewayHttpAdapter extends FastifyAdapter {
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

/** The HTTP server of this service. `bodyBytesMax` bounds every body. */
export function fastifyHttp(bodyBytesMax: number): FastifyAdapter {
  return new GatewayHttpAdapter(
    fastify({
      bodyLimit: bodyBytesMax,
      routerOptions: { maxParamLength: 128, ignoreTrailingSlash: false },
      // A slow sender must not hold a connection for ever.
      requestTimeout: 30_000,
      // Longer than balancers keep an unused connection (60 s, mostly); callers are asked for less.
      keepAliveTimeout: 65_000,
      // Answers go on while the server drains; readiness has sent new callers elsewhere.
      return503OnClosing: false,
      clientErrorHandler: (error, socket) => {
        if (error.code === 'ECONNRESET' || socket.destroyed) return;
        const problem = problemOfConnection(error.code);
        const body = JSON.stringify(problem.document(`req_${randomUUID()}`));
        if (socket.writable) {
          socket.write(
            `HTTP/1.1 ${problem.status} ${STATUS_CODES[problem.status] ?? ''}\r\ncontent-type: application/problem+json; charset=utf-8\r\n` +
              `content-length: ${Buffer.byteLength(body)}\r\nconnection: close\r\n\r\n${body}`,
          );
        }
        socket.destroySoon();
      },
      frameworkErrors: (error, request, reply) => {
        // Before any hook: what the router itself refuses goes out on the raw response.
        const problem = problemOf(error);
        reply.hijack();
        reply.raw.writeHead(problem.status, { 'content-type': 'application/problem+json; charset=utf-8', connection: 'close' });
        reply.raw.end(JSON.stringify(problem.document(String(request.id))));
      },
    }),
  );
}
