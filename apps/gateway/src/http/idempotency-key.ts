import { invalid, parsed, type Parsed } from '@settlement/kernel/parsed';

/**
 * The header as the IETF draft has it: a structured-field string in double quotes. Bare tokens are taken too, since most
 * clients send a bare UUID; `"abc"` and `abc` are the same key. 1 to 255 visible ASCII characters.
 */
export function parseIdempotencyKey(header: string): Parsed<string> {
  const quoted = /^"((?:[^"\\]|\\["\\])*)"$/.exec(header);
  const key = quoted?.[1] === undefined ? header : quoted[1].replace(/\\(["\\])/g, '$1');
  if (!/^[\x21-\x7e]{1,255}$/.test(key)) return invalid('expected 1 to 255 visible ASCII characters, such as a UUID', 'header.idempotency-key');
  return parsed(key);
}
