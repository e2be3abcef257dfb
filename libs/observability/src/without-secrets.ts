import { stdSerializers } from 'pino';

/** Fields whose values never reach a log line, compared without case, dashes and underscores. `name` is a person's. */
const secretFields = new Set([
  'authorization', 'cookie', 'setcookie', 'mnemonic', 'admintoken', 'raw', 'signature', 'name',
  'connectionstring', 'databaseurl', 'feeddatabases', 'partitionmap', 'relayerkeys', 'partiesdigestkeys',
  // A node's address often carries its access key as a path.
  'rpcurl', 'rpcurls',
]);

/** `WEBHOOK_SECRET`, `feedReaderPassword`: whatever is called so at its end. */
const secretEnding = /(secret|password|privatekey|apikey|secrets?key|encryptionkey)s?$/;

/** A password inside an address, as connection strings carry it. */
const passwordInUrl = /(:\/\/[^\s:/@]*:)[^\s@/]+@/g;

/** Deeper than anything that a service logs on purpose; also what ends a cycle. */
const DEPTH_MAX = 8;

const REMOVED = '[removed]';

function isSecret(field: string): boolean {
  const plain = field.replace(/[-_]/g, '').toLowerCase();
  return secretFields.has(plain) || secretEnding.test(plain);
}

/**
 * A copy of what is to be logged, without the values of secret fields, at any depth. A list of paths was rejected: it ends at
 * the depth that somebody thought of, and `request.parties[0].name` was deeper.
 */
export function withoutSecrets(value: unknown, depth = 0): unknown {
  if (typeof value === 'string') return value.includes('://') ? value.replace(passwordInUrl, `$1${REMOVED}@`) : value;
  if (typeof value !== 'object' || value === null) return value;
  if (depth === DEPTH_MAX) return '[too deep]';
  if (ArrayBuffer.isView(value)) return `[${value.byteLength} bytes]`;
  if (value instanceof Error) return fieldsWithoutSecrets(stdSerializers.err(value), depth);
  if (Array.isArray(value)) return value.map((item) => withoutSecrets(item, depth + 1));
  if ('toJSON' in value && typeof value.toJSON === 'function') return withoutSecrets(value.toJSON(), depth + 1);
  return fieldsWithoutSecrets(value, depth);
}

export function fieldsWithoutSecrets(fields: object, depth = 0): Record<string, unknown> {
  const copy: Record<string, unknown> = {};
  for (const [field, value] of Object.entries(fields)) copy[field] = isSecret(field) ? REMOVED : withoutSecrets(value, depth + 1);
  return copy;
}
