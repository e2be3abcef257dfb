/**
 * The four kinds of error. Everything that goes wrong is one of them:
 *
 * | kind               | form                                   | what to do                                          |
 * |--------------------|----------------------------------------|-----------------------------------------------------|
 * | rejection          | a returned value with a `code`         | map to a status at the edge (see decider.ts)        |
 * | invalid input      | `InvalidInput` with path, expectation  | 400 / INVALID_ARGUMENT, never reaches a decider     |
 * | operational        | `OperationalError` with an `outcome`   | retry only `not-done`; resolve `unknown` by reading |
 * | invariant violated | `InvariantViolated`                    | stop that stream, alert, follow the runbook         |
 */

/** What is known of an effect whose call failed. `unknown` is an outcome of its own and is never retried blind. */
export type Outcome = 'not-done' | 'done' | 'unknown';

export interface InputIssue {
  /** Where, as a JSON path such as `authorization.nonce`; empty for the whole document. */
  readonly path: string;
  /** What is wrong and what is expected instead, one sentence. */
  readonly message: string;
}

export class InvalidInput extends Error {
  override readonly name = 'InvalidInput';
  readonly issues: readonly InputIssue[];

  constructor(issues: readonly InputIssue[]) {
    super(issues.map((i) => (i.path === '' ? i.message : `${i.path}: ${i.message}`)).join('; '));
    this.issues = issues;
  }
}

export class OperationalError extends Error {
  override readonly name: string = 'OperationalError';

  constructor(
    /** SCREAMING_SNAKE, stable, documented where it is thrown. */
    readonly code: string,
    message: string,
    readonly outcome: Outcome,
    options?: { readonly cause?: unknown },
  ) {
    super(message, options);
  }
}

export class InvariantViolated extends Error {
  override readonly name = 'InvariantViolated';

  constructor(
    /** The id of docs/invariants.md (`I1` … `I9`) or a SCREAMING_SNAKE code of a local assertion. */
    readonly code: string,
    message: string,
    readonly facts: Readonly<Record<string, unknown>> = {},
  ) {
    super(`${code}: ${message}`);
  }
}

/** Throws `InvariantViolated` when the condition does not hold. */
export function invariant(
  condition: boolean,
  code: string,
  message: string,
  facts: Readonly<Record<string, unknown>> = {},
): asserts condition {
  if (!condition) throw new InvariantViolated(code, message, facts);
}
