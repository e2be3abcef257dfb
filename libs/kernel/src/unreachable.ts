import { InvariantViolated } from './errors';

/** The default of an exhaustive switch: a compile error when a case is missing, and a stop at run time when data lies. */
export function unreachable(value: never): never {
  throw new InvariantViolated('UNREACHABLE', 'a switch met a case that its type excludes', { value });
}
