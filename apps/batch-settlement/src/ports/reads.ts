/** Reads of the service's own tables outside any transaction. */
export interface Reads {
  query<Row extends Record<string, unknown>>(text: string, values?: readonly unknown[]): Promise<readonly Row[]>;
}
