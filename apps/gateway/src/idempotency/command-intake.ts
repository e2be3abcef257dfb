import type { Append, AppendResult, EventStore, Transaction } from '@settlement/event-store/port';
import { OperationalError } from '@settlement/kernel/errors';
import type { Clock } from '@settlement/kernel/time';
import type { IdempotencyClaim, RouteAnswer } from '../http/route';
import { Problem } from '../http/problem';
import type { SecretBox } from './secret-box';

/** One command of a caller with the answer that it will get if it takes effect. */
export interface IntakeItem {
  readonly claim: IdempotencyClaim;
  readonly answer: RouteAnswer;
  /** The answer shows a secret and is stored encrypted. */
  readonly secretAnswer?: boolean;
  readonly append?: Append;
  /** An authorization that may stand for one payment only. */
  readonly authorizationUse?: { readonly digest: Uint8Array; readonly paymentId: string };
  /** Further rows in the same transaction; runs only when the command takes effect. */
  readonly effects?: (tx: Transaction) => Promise<void>;
}

export type IntakeOutcome =
  | { readonly kind: 'done' }
  /** The key was used for the same request before: its answer. */
  | { readonly kind: 'replayed'; readonly answer: RouteAnswer }
  | { readonly kind: 'key-reused' }
  /** The stream is not at the expected version; nothing was recorded, the key is free. */
  | { readonly kind: 'conflict'; readonly actualVersion: bigint }
  /** The authorization stands for another payment; nothing was recorded, the key is free. */
  | { readonly kind: 'authorization-used'; readonly paymentId: string };

interface Waiting {
  readonly item: IntakeItem;
  resolve(outcome: IntakeOutcome): void;
  reject(error: unknown): void;
}

interface StoredRow extends Record<string, unknown> {
  readonly owner: string;
  readonly key: string;
  readonly fingerprint: string;
  readonly status: number;
  readonly body: string;
  readonly location: string;
  readonly encrypted: boolean;
  readonly fresh: boolean;
}

/** Enough to share a commit among several hundred callers a second, small enough that one statement stays in the low milliseconds. */
const BATCH_MAX = 128;
/** One batch is written while the next gathers; a second lane keeps the database busy during the first one's commit. */
const LANES = 2;

/**
 * The one way in for commands with an Idempotency-Key. Those that wait are written together, in one transaction: the key with
 * its answer, the uniqueness of authorizations, and the events. Either all of a command is there or nothing, so a crash at any
 * point leaves the repetition with the first answer or with a first try, never with something between.
 *
 * The key's row is written on a replay as well (a counter), because finding a row is no proof that it is replicated: the
 * repeated answer goes out only after a commit of its own.
 */
export class CommandIntake {
  private readonly queue: Waiting[] = [];
  private readonly inFlight = new Set<string>();
  private lanes = 0;

  constructor(
    private readonly store: EventStore,
    private readonly clock: Clock,
    private readonly secrets: SecretBox,
    /** Told of each append that has been committed. */
    private readonly onRecorded: (appends: readonly Append[]) => void = () => undefined,
  ) {}

  /** Throws `Problem` for a key in flight in this process, and what `EventStore.transact` throws. */
  async submit(item: IntakeItem): Promise<IntakeOutcome> {
    const release = this.hold(item.claim);
    try {
      return await new Promise<IntakeOutcome>((resolve, reject) => {
        this.queue.push({ item, resolve, reject });
        this.pump();
      });
    } finally {
      release();
    }
  }

  /**
   * The answer that the key's first request got, if there was one. For a request that would be refused now although its first
   * try took effect, such as a repetition after the authorization's expiry.
   */
  async recall(claim: IdempotencyClaim): Promise<Extract<IntakeOutcome, { kind: 'replayed' | 'key-reused' }> | undefined> {
    const rows = await this.store.transact(0, (tx) =>
      tx.query<StoredRow>(
        `UPDATE gateway.idempotency SET replays = replays + 1 WHERE owner = $1 AND key = $2
         RETURNING owner, key, fingerprint, status, body, location, encrypted, false AS fresh`,
        [claim.owner, claim.key],
      ),
    );
    const [row] = rows;
    return row === undefined ? undefined : this.replay(row, claim);
  }

  private hold(claim: IdempotencyClaim): () => void {
    const id = `${claim.owner}\u0000${claim.key}`;
    if (this.inFlight.has(id)) {
      throw new Problem('IDEMPOTENCY_KEY_IN_FLIGHT', 'Repeat the request when the first one has been answered.');
    }
    this.inFlight.add(id);
    return () => this.inFlight.delete(id);
  }

  private pump(): void {
    if (this.lanes >= LANES || this.queue.length === 0) return;
    this.lanes += 1;
    // After the current turn of the event loop: requests that were read from sockets together share the transaction.
    setImmediate(() => {
      const batch = this.take();
      void this.write(batch).finally(() => {
        this.lanes -= 1;
        this.pump();
      });
    });
  }

  /**
   * The next batch. Of those that hand in one authorization only the first is in it: whether the others are too late is known
   * when the first has taken effect, and not before, since it may be refused for something else.
   */
  private take(): readonly Waiting[] {
    const batch: Waiting[] = [];
    const later: Waiting[] = [];
    const digests = new Set<string>();
    let seen = 0;
    for (; seen < this.queue.length && batch.length < BATCH_MAX; seen += 1) {
      const waiting = this.queue[seen];
      if (waiting === undefined) continue;
      const digest = waiting.item.authorizationUse === undefined ? undefined : hex(waiting.item.authorizationUse.digest);
      if (digest !== undefined && digests.has(digest)) later.push(waiting);
      else {
        batch.push(waiting);
        if (digest !== undefined) digests.add(digest);
      }
    }
    this.queue.splice(0, seen, ...later);
    return batch;
  }

  private async write(batch: readonly Waiting[]): Promise<void> {
    if (batch.length === 0) return;
    try {
      const outcomes = await this.store.transact(0, (tx) => this.writeIn(tx, batch.map(({ item }) => item)));
      batch.forEach(({ resolve, reject }, i) => {
        const outcome = outcomes[i];
        if (outcome?.kind === 'done' && batch[i]?.item.append !== undefined) this.onRecorded([batch[i].item.append]);
        if (outcome === undefined) reject(new OperationalError('INTAKE_UNANSWERED', 'a command was not answered', 'unknown'));
        else resolve(outcome);
      });
    } catch (error) {
      // What one command's own effect got wrong must not be the others' failure; an unknown or refused commit is everyone's.
      if (batch.length > 1 && !(error instanceof OperationalError)) await Promise.all(batch.map((waiting) => this.write([waiting])));
      else for (const { reject } of batch) reject(error);
    }
  }

  private async writeIn(tx: Transaction, items: readonly IntakeItem[]): Promise<readonly IntakeOutcome[]> {
    const outcomes: (IntakeOutcome | undefined)[] = items.map(() => undefined);
    const keys = await this.claimKeys(tx, items);
    let open = items.flatMap((item, index) => {
      const row = keys.get(`${item.claim.owner}\u0000${item.claim.key}`);
      if (row === undefined || row.fresh) return [{ item, index }];
      outcomes[index] = this.replay(row, item.claim);
      return [];
    });

    const withdrawn: { readonly owner: string; readonly key: string }[] = [];
    const withdraw = (index: number, item: IntakeItem, outcome: IntakeOutcome): void => {
      outcomes[index] = outcome;
      withdrawn.push(item.claim);
    };

    const uses = await this.claimAuthorizations(tx, open.map(({ item }) => item));
    open = open.filter(({ item, index }) => {
      const holder = item.authorizationUse === undefined ? undefined : uses.get(hex(item.authorizationUse.digest));
      if (holder === undefined || holder === item.authorizationUse?.paymentId) return true;
      withdraw(index, item, { kind: 'authorization-used', paymentId: holder });
      return false;
    });

    const appends = open.flatMap(({ item }) => item.append ?? []);
    const results = appends.length === 0 ? [] : await tx.append(appends);
    const byAppend = new Map<Append, AppendResult>();
    appends.forEach((append, i) => {
      const result = results[i];
      if (result !== undefined) byAppend.set(append, result);
    });
    const lostUses: Uint8Array[] = [];
    for (const { item, index } of open) {
      const result = item.append === undefined ? undefined : byAppend.get(item.append);
      if (result?.outcome === 'conflict') {
        withdraw(index, item, { kind: 'conflict', actualVersion: result.actualVersion });
        if (item.authorizationUse !== undefined && !uses.has(hex(item.authorizationUse.digest))) lostUses.push(item.authorizationUse.digest);
        continue;
      }
      await item.effects?.(tx);
      outcomes[index] = { kind: 'done' };
    }

    if (withdrawn.length > 0) {
      await tx.query('DELETE FROM gateway.idempotency i USING unnest($1::text[], $2::text[]) w (owner, key) WHERE i.owner = w.owner AND i.key = w.key', [
        withdrawn.map(({ owner }) => owner),
        withdrawn.map(({ key }) => key),
      ]);
    }
    if (lostUses.length > 0) await tx.query('DELETE FROM gateway.authorization_use WHERE digest = ANY ($1::bytea[])', [lostUses]);
    return outcomes.flatMap((outcome) => outcome ?? []);
  }

  private async claimKeys(tx: Transaction, items: readonly IntakeItem[]): Promise<ReadonlyMap<string, StoredRow>> {
    const nowNs = this.clock.nowNs();
    const bodies = items.map(({ answer, secretAnswer }) => (secretAnswer === true ? this.secrets.seal(answer.body ?? '') : (answer.body ?? '')));
    // Sorted, so that two processes with the same keys in hand wait for each other in one direction only.
    const rows = await tx.query<StoredRow>(
      `INSERT INTO gateway.idempotency AS i (owner, key, fingerprint, status, body, encrypted, created_at_ns, location)
       SELECT owner, key, fingerprint, status, body, encrypted, $7, location
         FROM unnest($1::text[], $2::text[], $3::text[], $4::integer[], $5::text[], $6::boolean[], $8::text[]) c (owner, key, fingerprint, status, body, encrypted, location)
        ORDER BY owner, key
       ON CONFLICT (owner, key) DO UPDATE SET replays = i.replays + 1
       RETURNING owner, key, fingerprint, status, CASE WHEN xmax = 0 THEN '' ELSE body END AS body, location, encrypted, xmax = 0 AS fresh`,
      [
        items.map(({ claim }) => claim.owner),
        items.map(({ claim }) => claim.key),
        items.map(({ claim }) => claim.fingerprint),
        items.map(({ answer }) => answer.status),
        bodies,
        items.map(({ secretAnswer }) => secretAnswer === true),
        nowNs,
        items.map(({ answer }) => answer.headers?.['location'] ?? ''),
      ],
    );
    return new Map(rows.map((row) => [`${row.owner}\u0000${row.key}`, row]));
  }

  /** Which authorizations of these stand for a payment already: digest in hex → payment id. What is new is claimed. */
  private async claimAuthorizations(tx: Transaction, items: readonly IntakeItem[]): Promise<ReadonlyMap<string, string>> {
    const held = new Map<string, string>();
    const sorted = items.flatMap(({ authorizationUse }) => authorizationUse ?? []).sort((a, b) => Buffer.compare(a.digest, b.digest));
    if (sorted.length === 0) return held;
    const inserted = await tx.query<{ digest: Uint8Array }>(
      `INSERT INTO gateway.authorization_use (digest, payment_id) SELECT digest, payment_id FROM unnest($1::bytea[], $2::text[]) u (digest, payment_id)
        ON CONFLICT DO NOTHING RETURNING digest`,
      [sorted.map(({ digest }) => digest), sorted.map(({ paymentId }) => paymentId)],
    );
    if (inserted.length === sorted.length) return held;
    const fresh = new Set(inserted.map(({ digest }) => hex(digest)));
    const taken = await tx.query<{ digest: Uint8Array; payment_id: string }>('SELECT digest, payment_id FROM gateway.authorization_use WHERE digest = ANY ($1::bytea[])', [
      sorted.map(({ digest }) => digest),
    ]);
    for (const row of taken) if (!fresh.has(hex(row.digest))) held.set(hex(row.digest), row.payment_id);
    return held;
  }

  private replay(row: StoredRow, claim: IdempotencyClaim): Extract<IntakeOutcome, { kind: 'replayed' | 'key-reused' }> {
    if (row.fingerprint !== claim.fingerprint) return { kind: 'key-reused' };
    const body = row.encrypted ? this.secrets.open(row.body) : row.body;
    const headers = row.location === '' ? {} : { headers: { location: row.location } };
    return { kind: 'replayed', answer: { status: row.status, body: body === '' ? undefined : body, ...headers, replayed: true } };
  }
}

function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('hex');
}
