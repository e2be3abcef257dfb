import { parseBytes32, parseChainId, parseHexBytes } from '@settlement/kernel/address';
import { parseTokenUnits } from '@settlement/kernel/money';
import type { Parsed } from '@settlement/kernel/parsed';
import { parseChecksumAddress } from '@settlement/chain/eip55';
import { z } from 'zod';
import { decodeCursor } from './cursor';

/** A string that one of the kernel's parsers takes; its message is the API's. `pattern` is what the document shows. */
function parsedString<T>(parse: (text: string) => Parsed<T>, expectation: string, meta: { readonly description: string; readonly example?: string; readonly pattern?: string }) {
  return z
    .string(expectation)
    .transform((text, ctx): T => {
      const result = parse(text);
      if (result.ok) return result.value;
      for (const issue of result.issues) ctx.addIssue({ code: 'custom', message: issue.message });
      return z.NEVER;
    })
    .meta({ type: 'string', ...meta });
}

export const addressSchema = parsedString(parseChecksumAddress, 'expected an address as a string', {
  description: 'An address: 0x and 40 hex digits. Mixed letter case must match the EIP-55 checksum.',
  example: '0x70997970c51812dc3a010c7d01b50e0d17dc79c8',
  pattern: '^0x[0-9a-fA-F]{40}$',
});

export const bytes32Schema = parsedString(parseBytes32, 'expected 32 bytes as a hex string', { description: '32 bytes: 0x and 64 hex digits.', pattern: '^0x[0-9a-fA-F]{64}$' });

export const signatureSchema = parsedString(parseHexBytes, 'expected bytes as a hex string', {
  description: '65 bytes r, s, v of a key, or what an ERC-1271 wallet takes: 0x and an even number of hex digits.',
  pattern: '^0x(?:[0-9a-fA-F]{2})*$',
});

export const chainIdSchema = parsedString(parseChainId, 'expected a CAIP-2 chain id as a string', { description: 'CAIP-2 chain id.', example: 'eip155:31337', pattern: '^eip155:[1-9][0-9]{0,15}$' });

export const amountSchema = parsedString(parseTokenUnits, 'expected a string of minor units, such as "1250000" for 1.25 USDC', {
  description: 'Minor units as decimal digits: "1250000" is 1.25 USDC.',
  example: '1250000',
  pattern: '^(0|[1-9][0-9]{0,77})$',
});

export const cursorSchema = parsedString(decodeCursor, 'expected a cursor as nextCursor gave it', { description: 'nextCursor of the page before; opaque.' });

/** Unix seconds as a number or as decimal digits, since wallets emit both. */
export const unixSecondsSchema = z
  .union([z.int().min(0), z.string().regex(/^(0|[1-9][0-9]{0,14})$/, 'expected Unix seconds as decimal digits')], 'expected Unix seconds, as a whole number or decimal digits')
  .transform((value) => BigInt(value))
  .meta({ description: 'Unix seconds.', example: 1767225600 });

export const limitSchema = z
  .string()
  .regex(/^[0-9]{1,3}$/, 'expected a whole number from 1 to 100')
  .transform(Number)
  .refine((limit) => limit >= 1 && limit <= 100, 'expected a whole number from 1 to 100')
  .meta({ type: 'integer', minimum: 1, maximum: 100, default: 20, description: 'Items a page.' });

/** Text for people: no control characters, nothing that reorders what is shown. */
export function textSchema(lengthMax: number, description: string) {
  return z
    .string('expected a string')
    .min(1, 'expected at least one character')
    .max(lengthMax, `expected at most ${lengthMax} characters`)
    .regex(/^[^\p{Cc}\p{Cs}\u200e\u200f\u202a-\u202e\u2066-\u2069]+$/u, 'expected text without control characters')
    .meta({ description });
}
