/** The service's log, as far as its concepts write to it. Fields are ids and counts, never a party. */
export interface ScreeningLog {
  info(fields: Readonly<Record<string, unknown>>, message: string): void;
  warn(fields: Readonly<Record<string, unknown>>, message: string): void;
  error(fields: Readonly<Record<string, unknown>>, message: string): void;
}
