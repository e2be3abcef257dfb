import { invalid, parsed, type Parsed } from '@settlement/kernel/parsed';

/** IPv4 ranges that are not the public Internet (IANA special-purpose registry, RFC 6890 and successors). */
const PRIVATE_V4: readonly (readonly [string, number])[] = [
  ['0.0.0.0', 8], ['10.0.0.0', 8], ['100.64.0.0', 10], ['127.0.0.0', 8],
  // Link-local, and with it every cloud's metadata service.
  ['169.254.0.0', 16],
  ['172.16.0.0', 12], ['192.0.0.0', 24], ['192.0.2.0', 24], ['192.31.196.0', 24], ['192.52.193.0', 24], ['192.88.99.0', 24],
  ['192.168.0.0', 16], ['192.175.48.0', 24], ['198.18.0.0', 15], ['198.51.100.0', 24], ['203.0.113.0', 24],
  ['224.0.0.0', 4], ['240.0.0.0', 4],
];

function v4Value(text: string): bigint | undefined {
  const parts = text.split('.');
  if (parts.length !== 4 || parts.some((part) => !/^(0|[1-9][0-9]{0,2})$/.test(part) || BigInt(part) > 255n)) return undefined;
  return parts.reduce((value, part) => (value << 8n) | BigInt(part), 0n);
}

/** 128 bits, of any RFC 4291 spelling; a zone index (`%eth0`) makes it no address of the Internet. */
function v6Value(text: string): bigint | undefined {
  const lastColon = text.lastIndexOf(':');
  const embedded = v4Value(text.slice(lastColon + 1));
  const plain = embedded === undefined ? text : `${text.slice(0, lastColon + 1)}${(embedded >> 16n).toString(16)}:${(embedded & 0xffffn).toString(16)}`;
  const halves = plain.split('::');
  if (halves.length > 2) return undefined;
  const groups = (half: string | undefined): readonly string[] => (half === undefined || half === '' ? [] : half.split(':'));
  const head = groups(halves[0]);
  const tail = groups(halves[1]);
  const missing = 8 - head.length - tail.length;
  if (halves.length === 1 ? missing !== 0 : missing < 1) return undefined;
  const all = [...head, ...Array.from({ length: missing }, () => '0'), ...tail];
  if (all.some((group) => !/^[0-9a-f]{1,4}$/i.test(group))) return undefined;
  return all.reduce((value, group) => (value << 16n) | BigInt(`0x${group}`), 0n);
}

function within(value: bigint, base: bigint, prefix: number, bits: number): boolean {
  return value >> BigInt(bits - prefix) === base >> BigInt(bits - prefix);
}

const V4_RANGES = PRIVATE_V4.map(([base, prefix]) => [v4Value(base) ?? 0n, prefix] as const);
const GLOBAL_V6 = v6Value('2000::') ?? 0n;
/** Inside 2000::/3 and still not a plain host: Teredo and protocol assignments, documentation, 6to4 (which embeds any IPv4). */
const SPECIAL_V6 = ([['2001::', 23], ['2001:db8::', 32], ['2002::', 16], ['3fff::', 20]] as const).map(([base, prefix]) => [v6Value(base) ?? 0n, prefix] as const);

/**
 * Whether an IP address is one of the public Internet. IPv6 is allowed by its one global range, so everything else is refused
 * without being named: loopback, link-local, unique local, multicast, NAT64 and IPv4-mapped addresses.
 */
export function isPublicAddress(ip: string): boolean {
  const v4 = v4Value(ip);
  if (v4 !== undefined) return !V4_RANGES.some(([base, prefix]) => within(v4, base, prefix, 32));
  const v6 = v6Value(ip);
  return v6 !== undefined && within(v6, GLOBAL_V6, 3, 128) && !SPECIAL_V6.some(([base, prefix]) => within(v6, base, prefix, 128));
}

/** Names that never lead to the public Internet (RFC 6761, RFC 6762, and what clouds and clusters use inside). */
const PRIVATE_NAMES = /(^|\.)(localhost|local|internal|intranet|lan|home\.arpa|corp|svc|cluster)$/;

/**
 * Whether webhooks may go to this URL, as far as the URL itself tells. What its name resolves to is checked again when each
 * connection is made, because that can change.
 */
export function parseWebhookUrl(text: string, allowPrivate: boolean): Parsed<URL> {
  if (text.length > 2_000) return invalid('expected at most 2000 characters');
  if (!URL.canParse(text)) return invalid('expected an absolute URL');
  const url = new URL(text);
  if (url.protocol !== 'https:' && !(allowPrivate && url.protocol === 'http:')) return invalid('expected https');
  if (url.username !== '' || url.password !== '') return invalid('expected no user name or password in the URL');
  if (url.hash !== '') return invalid('expected no fragment');
  if (allowPrivate) return parsed(url);
  const host = bareHost(url);
  const name = host.toLowerCase().replace(/\.$/, '');
  const isAddress = v4Value(host) !== undefined || host.includes(':');
  if (isAddress ? !isPublicAddress(host) : PRIVATE_NAMES.test(name) || !name.includes('.')) return invalid('expected a host of the public Internet');
  return parsed(url);
}

/** The host without the brackets of an IPv6 literal. */
export function bareHost(url: URL): string {
  return url.hostname.replace(/^\[|\]$/g, '');
}
