/** Refuses a percentage of writes with the reason, wherever a file asks for it: ownership moves once. */
import { valueAt } from './diagnose.ts'
import { diagnostic } from './diagnostic.ts'
import type { Diagnostic } from './diagnostic.ts'
import { CONFIG_ERRORS } from './errors-config.ts'
import type { Path, Source } from './source.ts'

const WORDS = /^(?:percent_?(?:of_?)?writes?|writes?(?:_?percent)?|unsafe)$/i

/**
 * The places of a slice file that ask for a part of the writes. In a slice that owns no tables there is no ownership that
 * could be split, and such a key is only unknown.
 */
export function findWritesPercent(source: Source): Diagnostic[] {
  const tables = valueAt(source.raw, ['tables'])
  const owns = isMap(tables) && Object.keys(tables).length > 0
  return [[], ['canary'], ['canary', 'percent']].flatMap(path => {
    const map = valueAt(source.raw, path)
    if (!isMap(map)) return []
    return Object.keys(map)
      .filter(key => WORDS.test(key))
      .map(key => (owns ? refused(source, path, key) : unknown(source, path, key)))
  })
}

function refused(source: Source, path: Path, key: string): Diagnostic {
  const rule = CONFIG_ERRORS.WRITES_PERCENT
  return diagnostic({ source, span: spanOf(source, path, key), rule, details: [key] })
}

function unknown(source: Source, path: Path, key: string): Diagnostic {
  const rule = CONFIG_ERRORS.KEY_UNKNOWN
  const hint = 'percent moves reads; unsafe requests go to legacy until the stage is moved'
  return diagnostic({ source, span: spanOf(source, path, key), rule, details: [key], hint })
}

// A map under `percent` is itself the mistake: point at it, as the validator would.
function spanOf(source: Source, path: Path, key: string) {
  return path.length === 2 ? source.at(path, 'value') : source.at([...path, key], 'key')
}

function isMap(value: unknown): value is object {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
