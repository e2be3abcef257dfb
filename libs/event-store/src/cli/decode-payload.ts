import { toJson } from '../frozen-fixtures';

/** Generated messages by service, loaded only when an event of that service is printed. */
const MESSAGES: Readonly<Record<string, () => Promise<object>>> = {
  gateway: () => import('@settlement/proto/gateway/v1/events'),
  relayer: () => import('@settlement/proto/relayer/v1/events'),
  paymaster: () => import('@settlement/proto/paymaster/v1/events'),
  batch: () => import('@settlement/proto/batch/v1/events'),
  screening: () => import('@settlement/proto/screening/v1/events'),
};

interface Decoder {
  decode(bytes: Uint8Array): unknown;
}

/** The payload as JSON where the service's current messages know the type, else as hex. For people; programs use a codec. */
export async function decodePayload(source: string, type: string, payload: Uint8Array): Promise<string> {
  const service = Object.keys(MESSAGES).find((name) => source.includes(name));
  const messages = service === undefined ? undefined : await MESSAGES[service]?.();
  const message: unknown = messages === undefined ? undefined : new Map(Object.entries(messages)).get(type);
  if (!isDecoder(message)) return `0x${Buffer.from(payload).toString('hex')}`;
  try {
    return JSON.stringify(toJson(message.decode(payload)));
  } catch (error) {
    return `0x${Buffer.from(payload).toString('hex')} (not readable as ${type}: ${error instanceof Error ? error.message : String(error)})`;
  }
}

function isDecoder(value: unknown): value is Decoder {
  return typeof value === 'object' && value !== null && 'decode' in value && typeof value.decode === 'function';
}
