/** What the driver reports about a source, as the errors that the callers of slots and streams branch on. */
import { BanyanError, type ErrorRule } from '../model/errors.ts'
import { SYNC_ERRORS } from '../model/errors-sync.ts'
import { explain, sqlState } from './explain.ts'

/** SQLSTATE → what it means in this very call, with the details of its message. */
export type StateRules = Readonly<Record<string, readonly [ErrorRule, readonly string[]]>>

/** By the call's own rules, or as every statement's error. `where`: the source's URL. */
export function sourceError(error: unknown, where: string, rules: StateRules = {}): Error {
  return ownError(error, rules) ?? explain(error, where)
}

// Class 08: connection; 53: out of memory, disk or connections; 57: shutdown, crash of a neighbour, starting.
const LOST = /^(08|53|57)/

/**
 * The same for a stream under way: a lost connection, or a server out of resources, is STREAM_LOST (open it again);
 * everything else STREAM_FAILED.
 */
export function streamError(error: unknown, where: string, rules: StateRules = {}): BanyanError {
  if (error instanceof BanyanError) return error
  const own = ownError(error, rules)
  if (own) return own
  const state = sqlState(error)
  const lost = state === null || LOST.test(state)
  const rule = lost ? SYNC_ERRORS.STREAM_LOST : SYNC_ERRORS.STREAM_FAILED
  return new BanyanError(rule, [explain(error, where).message], { cause: error })
}

function ownError(error: unknown, rules: StateRules): BanyanError | undefined {
  if (error instanceof BanyanError) return undefined
  const rule = rules[sqlState(error) ?? '']
  return rule && new BanyanError(rule[0], rule[1], { cause: error })
}
