import { costWeiMax } from '../transaction/attempt';
import type { AcceptedIntent } from '../intent/intent';
import { affordable, ceilingOf, feesFor } from './fee.policy';
import type { LaneFees } from './lane-fees';
import type { LaneParts } from './lane-parts';
import type { Pack } from './pack.policy';
import { SPEND_WINDOW_NS, spendLeftWei, withinSpend } from './spend.policy';

/** What money says about a plan: the ceiling of each intent, of the chain and of the hour. */
export class PlanLimits {
  constructor(
    private readonly parts: LaneParts,
    private readonly fees: LaneFees,
  ) {}

  /** Without those whose own ceiling the chain is above; they wait for a cheaper block and hold nobody back. */
  async affordable(waiting: readonly AcceptedIntent[]): Promise<readonly AcceptedIntent[]> {
    // Asked of the chain only when somebody has a ceiling of its own.
    if (!waiting.some(({ intent }) => intent.feePerGasWeiMax !== undefined)) return waiting;
    return affordable(waiting, await this.fees.observation(), this.parts.settings.fees).now;
  }

  /** Those that may be planned now, or why none may. */
  async allowed(packs: readonly Pack[]): Promise<{ readonly packs: readonly Pack[]; readonly why?: string }> {
    const { settings, book, metrics } = this.parts;
    const observation = await this.fees.observation();
    if (feesFor(observation, settings.fees) === undefined) {
      metrics.feeCeiling(book.chainId, 'plan');
      return { packs: [], why: `gas costs more than FEE_PER_GAS_WEI_MAX: the next block's base fee is ${observation.baseFeeWei} wei` };
    }
    if (settings.gasWeiPerHourMax === undefined) return { packs };
    const left = await this.#leftWei(settings.gasWeiPerHourMax);
    // A transaction may be outbid up to its ceiling: that is what it is counted with.
    const most = packs.reduce((max, it) => {
      const ceiling = ceilingOf(it.intents, settings.fees.feePerGasWeiMax);
      return ceiling > max ? ceiling : max;
    }, 0n);
    const fitting = withinSpend(packs, most, left);
    if (fitting.length > 0 || packs.length === 0) return { packs: fitting };
    metrics.feeCeiling(book.chainId, 'hour');
    return { packs: [], why: `the hour's gas money is spent: ${left} wei of GAS_WEI_PER_HOUR_MAX are left` };
  }

  async #leftWei(hourlyWeiMax: bigint): Promise<bigint> {
    const { lookups, book, clock } = this.parts;
    const { finalWei, othersOpenWeiMax } = await lookups.spend(book.chainId, book.keyAddress, clock.nowNs() - SPEND_WINDOW_NS);
    let openWeiMax = othersOpenWeiMax;
    for (const { lifecycle, intents } of book.open()) {
      if (lifecycle.phase === 'absent') continue;
      const ceiling = lifecycle.plan.gasLimit * ceilingOf(intents, this.parts.settings.fees.feePerGasWeiMax);
      const offered = costWeiMax(lifecycle.plan, lifecycle.attempts);
      openWeiMax += offered > ceiling ? offered : ceiling;
    }
    return spendLeftWei({ finalWei, openWeiMax }, hourlyWeiMax);
  }
}
