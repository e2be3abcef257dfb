import { createHash } from 'node:crypto';

const ALPHABET = '123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz';
const DIGITS = new Map([...ALPHABET].map((char, value) => [char, BigInt(value)]));

/** Tickers whose addresses are Base58Check unless their shape says otherwise. XRP has another alphabet, XMR another checksum. */
const TICKERS = new Set(['XBT', 'BCH', 'BSV', 'BTG', 'LTC', 'DASH', 'ZEC', 'XVG', 'TRX', 'USDT', 'USDC']);

/**
 * Whether an address that must be Base58Check (first four bytes of the double SHA-256 of what precedes them) has its checksum.
 * `undefined` for an address of another kind. A list whose letter case was changed by some tool shows here, and only here: its
 * addresses look sound and match nobody.
 */
export function hasBase58Checksum(ticker: string, address: string): boolean | undefined {
  if (!TICKERS.has(ticker) || !/^[A-Za-z0-9]{25,36}$/.test(address) || /^(0x|(bc|tb|ltc|btg)1)/i.test(address)) return undefined;
  let value = 0n;
  for (const char of address) {
    const digit = DIGITS.get(char);
    if (digit === undefined) return false;
    value = value * 58n + digit;
  }
  const leadingZeros = /^1*/.exec(address)?.[0].length ?? 0;
  const hex = value === 0n ? '' : value.toString(16);
  const bytes = Buffer.concat([Buffer.alloc(leadingZeros), Buffer.from(hex.length % 2 === 0 ? hex : `0${hex}`, 'hex')]);
  if (bytes.length < 5) return false;
  const checksum = sha256(sha256(bytes.subarray(0, -4))).subarray(0, 4);
  return checksum.equals(bytes.subarray(-4));
}

function sha256(bytes: Buffer): Buffer {
  return createHash('sha256').update(bytes).digest();
}
