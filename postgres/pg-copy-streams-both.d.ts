/** What the packages can do and their published types leave out. */
import type { Duplex, DuplexOptions } from 'node:stream'
import type { Connection, Submittable } from 'pg'

declare module 'pg-copy-streams' {
  export interface CopyBothOptions extends DuplexOptions {
    /** One chunk per CopyData message. Only together with readableObjectMode; else reads glue messages together. */
    readonly alignOnCopyDataFrame?: boolean
  }
  export class CopyBothStream extends Duplex implements Submittable {
    submit(connection: Connection): void
  }
  export function both(text: string, options?: CopyBothOptions): CopyBothStream
}

declare module 'pg' {
  interface ClientConfig {
    replication?: 'database' | undefined
  }
}
