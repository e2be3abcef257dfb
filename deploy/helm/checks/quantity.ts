const BINARY: Readonly<Record<string, number>> = { Ki: 2 ** 10, Mi: 2 ** 20, Gi: 2 ** 30, Ti: 2 ** 40, Pi: 2 ** 50 };
const DECIMAL: Readonly<Record<string, number>> = { '': 1, n: 1e-9, u: 1e-6, m: 1e-3, k: 1e3, M: 1e6, G: 1e9, T: 1e12, P: 1e15 };

/** A Kubernetes quantity (`250m`, `512Mi`, `2`, `1e3`) as a number of cores or bytes; undefined where it is none. */
export function quantity(text: unknown): number | undefined {
  if (typeof text === 'number') return text;
  const [, digits, suffix = ''] = /^([0-9]+(?:\.[0-9]+)?(?:[eE][0-9]+)?)([A-Za-z]*)$/.exec(typeof text === 'string' ? text : '') ?? [];
  const unit = BINARY[suffix] ?? DECIMAL[suffix];
  return digits === undefined || unit === undefined ? undefined : Number(digits) * unit;
}

/** The whole number that a text spells, undefined for anything else. */
export function wholeNumber(text: unknown): number | undefined {
  if (typeof text === 'number') return Number.isInteger(text) ? text : undefined;
  return typeof text === 'string' && /^-?[0-9]+$/.test(text) ? Number(text) : undefined;
}
