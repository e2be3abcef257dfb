import { systemClock } from '@settlement/config/system-ports';

/** An address that did not answer is left out for this long, about a cloud load balancer's two failed health checks. */
const LEFT_OUT_MS = 5_000;

/**
 * The addresses under which one API is reached, such as the NodePort of every node, and which of them is asked next: what a
 * load balancer in front of the cluster does. It never sends a request twice; a failure costs its request and spares the next.
 */
export class Endpoints {
  private readonly leftOutUntilMs = new Map<string, number>();

  /** `pick` answers a whole number in [0, bound); the next request's address. */
  constructor(
    readonly urls: readonly string[],
    private readonly pick: (bound: number) => number = (bound) => Math.floor(Math.random() * bound),
  ) {
    if (urls.length === 0) throw new TypeError('an API needs an address');
  }

  next(): string {
    const nowMs = systemClock.monotonicMs();
    const healthy = this.urls.filter((url) => (this.leftOutUntilMs.get(url) ?? 0) <= nowMs);
    // All of them out: any may be back by now, and asking is the only way to find out.
    const among = healthy.length === 0 ? this.urls : healthy;
    return among[this.pick(among.length)] ?? this.urls[0] ?? '';
  }

  /** No HTTP answer came from this address: refused, reset or silent. */
  failed(url: string): void {
    if (this.urls.length > 1) this.leftOutUntilMs.set(url, systemClock.monotonicMs() + LEFT_OUT_MS);
  }
}
