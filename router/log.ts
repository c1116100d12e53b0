/** What the router needs of a logger (pino and the like fit): fields first, then a constant phrase. */

export interface Log {
  info(fields: object, phrase: string): void
  warn(fields: object, phrase: string): void
  error(fields: object, phrase: string): void
}

/** For callers that want no log. */
export const SILENT: Log = { info() {}, warn() {}, error() {} }
