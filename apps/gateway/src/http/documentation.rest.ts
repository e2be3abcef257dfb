import { readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { z } from 'zod';
import { openApiDocument } from './openapi';
import { route, type Route } from './route';
import { Problem } from './problem';

const ASSETS: ReadonlyMap<string, string> = new Map([
  ['swagger-ui.css', 'text/css; charset=utf-8'],
  ['swagger-ui-bundle.js', 'text/javascript; charset=utf-8'],
]);

const PAGE = `<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><title>Settlement API</title><link rel="stylesheet" href="/docs/swagger-ui.css"></head>
<body><div id="api"></div><script src="/docs/swagger-ui-bundle.js"></script><script src="/docs/start.js"></script></body>
</html>
`;
const START = `SwaggerUIBundle({ url: '/openapi.json', dom_id: '#api', deepLinking: true });\n`;
const CSP = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; connect-src 'self'";

/** The document and a page that shows it. Everything comes from this process: nothing is fetched from elsewhere. */
export function documentationRoutes(apiRoutes: readonly Route[], version: string): readonly Route[] {
  const document = JSON.stringify(openApiDocument(apiRoutes, version));
  const assets = dirname(createRequire(import.meta.url).resolve('swagger-ui-dist/package.json'));
  const html = { 'content-security-policy': CSP, 'cache-control': 'no-cache' };
  const documentation = (operationId: string, summary: string) => ({ operationId, tag: 'Service' as const, summary, answers: {}, problems: [] });
  return [
    route({
      method: 'GET',
      path: '/openapi.json',
      access: { kind: 'public' },
      documentation: documentation('getOpenApi', 'OpenAPI document'),
      handle: () => Promise.resolve({ status: 200, body: document }),
    }),
    route({
      method: 'GET',
      path: '/docs',
      access: { kind: 'public' },
      documentation: documentation('getDocs', 'Documentation page'),
      handle: () => Promise.resolve({ status: 200, body: PAGE, contentType: 'text/html; charset=utf-8', headers: html }),
    }),
    route({
      method: 'GET',
      path: '/docs/{asset}',
      access: { kind: 'public' },
      params: z.strictObject({ asset: z.string().max(64) }),
      documentation: documentation('getDocsAsset', 'Parts of the documentation page'),
      handle: async ({ params: { asset } }) => {
        if (asset === 'start.js') return { status: 200, body: START, contentType: 'text/javascript; charset=utf-8', headers: html };
        const contentType = ASSETS.get(asset);
        if (contentType === undefined) throw new Problem('ROUTE_NOT_FOUND', 'There is nothing at this path.');
        return { status: 200, body: await readFile(join(assets, asset), 'utf8'), contentType, headers: html };
      },
    }),
  ];
}
