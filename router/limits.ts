/** Every limit of the façade, with its unit, its default and the reason for it. */

export interface RouterLimits {
  /** A request head or response head larger than this is refused (431, 502). Well above what origins accept. */
  readonly headBytes: number
  /** More header lines than this are refused: Node 20 drops lines past about 1,000 without a word. */
  readonly headLines: number
  /** Pipelined requests of one connection that wait for their turn before it isn't read any more. */
  readonly pipelined: number
  /** A client's idle connection is closed after this; longer than the usual load balancer's 60 s. */
  readonly clientIdleMs: number
  /** A request's head must be complete in this time. */
  readonly headMs: number
  /** Sockets to one upstream; requests beyond them wait. */
  readonly upstreamSockets: number
  /** Requests that may wait for a socket to one upstream; more get 503 `upstream-busy`. */
  readonly upstreamWaiting: number
  /** An upstream's idle socket is closed after this, before most origins close it under our feet (5 s). */
  readonly upstreamIdleMs: number
  /** Until a socket to the upstream is there, waiting for one included. */
  readonly connectMs: number
  /** Nothing sent or received for this long before the response's head: 504. Long enough for long polls. */
  readonly answerMs: number
  /** Nothing sent or received for this long inside a response. Long, for event streams that rarely speak. */
  readonly streamIdleMs: number
  /** What a client may still send after its response is complete and nobody wants it; then its socket is closed. */
  readonly lingerBytes: number
  readonly lingerMs: number
  /** From one report of the counts to the next: `status` shows them, and a few of them a second are cheap. */
  readonly reportMs: number
  /** From the end of run() until what is under way is cut. */
  readonly graceMs: number
  /** Parked requests that are let go at first when a hold ends; each that ends lets two follow. */
  readonly releaseConcurrency: number
  /** After this long without a word from control, an expired hold no longer refuses: the gate protects. */
  readonly controlLostMs: number
  /** Keys with unsafe requests whose read-your-writes token is remembered. */
  readonly tokens: number
  /**
   * A client carries the mark of its last write this long, so that other routers know of it: longer than any copy should
   * be behind.
   */
  readonly markMs: number
  /** Sessions whose identity is remembered. */
  readonly sessions: number
  readonly sessionMs: number
  /** "Nobody" is remembered briefly: a login must work at once. */
  readonly noSessionMs: number
  /** A token for a service is used this long; it expires after twice that. */
  readonly identityTokenMs: number
  readonly whoamiMs: number
  readonly whoamiBytes: number
  /** Shadowed requests under way, comparison included; more are dropped, never queued. */
  readonly shadowConcurrent: number
  readonly shadowSockets: number
  /** Larger answers of either side aren't compared. */
  readonly shadowBodyBytes: number
  /** The service's whole answer to a shadowed request. */
  readonly shadowMs: number
  /** How long a difference may wait for the service's copy to catch up before it is dropped as inconclusive. */
  readonly shadowSettleMs: number
}

export const DEFAULT_LIMITS: RouterLimits = {
  headBytes: 65_536,
  headLines: 500,
  pipelined: 32,
  clientIdleMs: 75_000,
  headMs: 60_000,
  upstreamSockets: 1_024,
  upstreamWaiting: 1_024,
  upstreamIdleMs: 4_000,
  connectMs: 5_000,
  answerMs: 300_000,
  streamIdleMs: 3_600_000,
  lingerBytes: 1_048_576,
  lingerMs: 5_000,
  reportMs: 1_000,
  graceMs: 10_000,
  releaseConcurrency: 16,
  controlLostMs: 10_000,
  tokens: 100_000,
  markMs: 3_600_000,
  sessions: 10_000,
  sessionMs: 10_000,
  noSessionMs: 1_000,
  identityTokenMs: 30_000,
  whoamiMs: 2_000,
  whoamiBytes: 65_536,
  shadowConcurrent: 64,
  shadowSockets: 16,
  shadowBodyBytes: 262_144,
  shadowMs: 5_000,
  shadowSettleMs: 2_000,
}
