import { randomUUID } from 'node:crypto';
import { STATUS_CODES, type Server } from 'node:http';
import type { Clock } from '@settlement/kernel/time';
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

/**
 * While the server drains, each answer tells its caller that the connection ends with it (RFC 9112, 9.6), so that the next request
 * goes elsewhere. Closing connections that a caller keeps alive would meet requests that are on their way.
 */
export function sendCallersAway(http: FastifyAdapter, draining: () => boolean): void {
  http.getInstance().addHook('onSend', async (_request, reply, payload) => {
    if (draining()) reply.header('connection', 'close');
    return Promise.resolve(payload);
  });
}

/** Longer than a busy caller leaves a connection unused; an idle one may then be closed. */
const CALLERS_MS_MAX = 2_000;

/** Until nobody is connected any more, at most for a moment: what is still open then has not been used meanwhile, or is slow. */
export async function callersLeft(server: Server, clock: Clock): Promise<void> {
  const untilMs = clock.monotonicMs() + CALLERS_MS_MAX;
  const connections = (): Promise<number> => new Promise((resolve, reject) => server.getConnections((error, count) => (error === null ? resolve(count) : reject(error))));
  while ((await connections()) > 0 && clock.monotonicMs() < untilMs) await clock.sleep(25);
}
