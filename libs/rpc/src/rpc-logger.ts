/** The part of a pino logger that this library needs. */
export interface RpcLogger {
  info(facts: object, message: string): void;
  warn(facts: object, message: string): void;
  error(facts: object, message: string): void;
}

export const SILENT: RpcLogger = {
  info() {},
  warn() {},
  error() {},
};
