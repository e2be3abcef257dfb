import { SeededRandom } from './seeded-random';

/** What is wrong with a submission on purpose, and the code under which it is to be refused. */
export type Oddity = 'none' | 'sanctioned-payer' | 'no-funds' | 'forged-signature' | 'expired' | 'duplicate';

export const oddities: readonly Exclude<Oddity, 'none'>[] = ['duplicate', 'sanctioned-payer', 'no-funds', 'forged-signature', 'expired'];

/** Where each oddity must end; `replayed` is not a refusal. */
export const expectedRefusal: Readonly<Record<Exclude<Oddity, 'none' | 'duplicate'>, { readonly code: string; readonly atTheDoor: boolean }>> = {
  'sanctioned-payer': { code: 'SANCTIONED_ADDRESS', atTheDoor: false },
  'no-funds': { code: 'INSUFFICIENT_FUNDS', atTheDoor: false },
  'forged-signature': { code: 'SIGNATURE_INVALID', atTheDoor: true },
  expired: { code: 'AUTHORIZATION_EXPIRED', atTheDoor: true },
};

export interface Submission {
  readonly index: number;
  readonly merchant: number;
  /** Index of an ordinary payer; odd payers are their own. */
  readonly payer: number;
  readonly amountMinor: bigint;
  readonly oddity: Oddity;
  /** For a duplicate: the submission that it repeats, key and body alike. */
  readonly repeats: number | undefined;
  /** Created first, signed from the typed data in the answer, authorized second. */
  readonly twoStep: boolean;
  readonly reference: string;
}

export interface Scenario {
  readonly submissions: readonly Submission[];
  readonly merchants: number;
  readonly payers: number;
  /** This merchant's payout address is on the token's blacklist; none when there is a single merchant. */
  readonly blacklistedMerchant: number | undefined;
}

export interface Expectation {
  readonly replayed: number;
  readonly refused: Readonly<Record<string, number>>;
  readonly collected: number;
  readonly paidOut: number;
  /** Minor units that each merchant's payout address must have received. */
  readonly receivedByMerchant: readonly bigint[];
  readonly collectedMinor: bigint;
  /** Minor units that stay in the vault for the merchant that cannot be paid. */
  readonly leftInVault: bigint;
}

/** Same options, same scenario. With few payments fewer oddities, so that at least one ordinary payment is there. */
export function planScenario(options: { readonly payments: number; readonly merchants: number; readonly seed: number }): Scenario {
  const random = new SeededRandom(options.seed, 'scenario');
  const payers = Math.max(1, Math.min(50, Math.ceil(options.payments / 4)));
  const oddAt = new Map<number, Exclude<Oddity, 'none'>>();
  for (const oddity of oddities.slice(0, Math.max(0, options.payments - 1))) {
    let index: number;
    // The first submission is ordinary: the duplicate needs one before it.
    do index = 1 + random.below(options.payments - 1);
    while (oddAt.has(index));
    oddAt.set(index, oddity);
  }
  const submissions: Submission[] = [];
  for (let index = 0; index < options.payments; index += 1) {
    const oddity = oddAt.get(index) ?? 'none';
    const ordinary = submissions.filter((earlier) => earlier.oddity === 'none');
    const repeated = oddity === 'duplicate' ? ordinary[random.below(ordinary.length)] : undefined;
    if (repeated !== undefined) {
      submissions.push({ ...repeated, index, oddity, repeats: repeated.index });
      continue;
    }
    submissions.push({
      index,
      // Everyone gets something first, then at random, as real traffic is uneven.
      merchant: index < options.merchants ? index : random.below(options.merchants),
      payer: random.below(payers),
      // 0.50 to 250.49 USDC.
      amountMinor: BigInt(500_000 + random.below(249_990) * 1_000 + random.below(1_000)),
      oddity,
      repeats: undefined,
      twoStep: oddity === 'none' && index % 10 === 3,
      reference: `order-${options.seed}-${index}`,
    });
  }
  return { submissions, merchants: options.merchants, payers, blacklistedMerchant: options.merchants > 1 ? options.merchants - 1 : undefined };
}

/** Where everything must be at the end, from the plan alone: what a disturbed run is compared with. */
export function expectationOf(scenario: Scenario): Expectation {
  const refused: Record<string, number> = {};
  const receivedByMerchant = Array.from({ length: scenario.merchants }, () => 0n);
  let replayed = 0;
  let collected = 0;
  let paidOut = 0;
  let collectedMinor = 0n;
  let leftInVault = 0n;
  for (const { oddity, merchant, amountMinor } of scenario.submissions) {
    if (oddity === 'duplicate') replayed += 1;
    else if (oddity === 'none') {
      collected += 1;
      collectedMinor += amountMinor;
      if (merchant === scenario.blacklistedMerchant) leftInVault += amountMinor;
      else {
        paidOut += 1;
        receivedByMerchant[merchant] = (receivedByMerchant[merchant] ?? 0n) + amountMinor;
      }
    } else {
      const { code } = expectedRefusal[oddity];
      refused[code] = (refused[code] ?? 0) + 1;
    }
  }
  return { replayed, refused, collected, paidOut, receivedByMerchant, collectedMinor, leftInVault };
}
