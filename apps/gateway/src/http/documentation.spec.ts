import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { WEBHOOK_TYPE_OF } from '../webhook/webhook-events';
import { PROBLEMS } from './problem-codes';

const page = readFileSync(join(import.meta.dirname, '../../../../docs/services/gateway.md'), 'utf8');

describe('the service’s page', () => {
  it('lists every problem with its status, and no other', () => {
    const listed = [...page.matchAll(/^\| `([A-Z_]+)` \| ([0-9]{3}) \|/gm)].map(([, code, status]) => `${code} ${status}`);
    expect(listed).toEqual(Object.entries(PROBLEMS).map(([code, { status }]) => `${code} ${status}`));
  });

  it('lists every webhook type with its fact', () => {
    for (const [fact, type] of Object.entries(WEBHOOK_TYPE_OF)) expect(page).toContain(`| \`${type}\` | \`${fact}\` |`);
  });
});
