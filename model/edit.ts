/** Changes one value in a file that a person wrote, and nothing else: comments, order, quotes and line ends stay. */
import { isMap, isScalar, parseDocument, stringify } from 'yaml'
import type { Document, YAMLMap } from 'yaml'
import { CONFIG_ERRORS } from './errors-config.ts'
import { BanyanError } from './errors.ts'
import { findPair, follow } from './source.ts'
import { unifiedDiff } from './unified-diff.ts'

export interface Edit {
  readonly text: string
  /** For `patch -p1` and `git apply`; empty where the file already said so. */
  readonly diff: string
}

/**
 * Sets one key, as in `{ path: ['canary', 'percent'], value: 5 }`. A key that isn't there is added at the end of its map,
 * and the maps above it where they are missing. The result is parsed again: if anything but this key would change,
 * nothing does. Throws BanyanError EDIT_REFUSED.
 */
export function editKey(change: {
  readonly file: string
  readonly text: string
  readonly path: readonly string[]
  readonly value: string | number
}): Edit {
  const { file, text, path, value } = change
  const refuse = (why: string): never => {
    throw new BanyanError(CONFIG_ERRORS.EDIT_REFUSED, [path.join('.'), file, why])
  }
  const doc = parseDocument(text, { prettyErrors: false })
  if (doc.errors.length > 0) return refuse('it is not valid YAML')
  const before = valuesOf(doc) ?? {}
  if (typeof before !== 'object' || Array.isArray(before)) return refuse('it is not a map')
  const wanted = withValue(before as Values, path, value)
  const changed = splice({ doc, text, path, value })
  if (changed === undefined) return refuse('what stands there is not a plain value')
  const after = parseDocument(changed, { prettyErrors: false })
  if (after.errors.length > 0 || !same(valuesOf(after), wanted)) {
    return refuse('other keys would change with it')
  }
  return { text: changed, diff: unifiedDiff(file, text, changed) }
}

type Values = Readonly<Record<string, unknown>>
interface Place {
  readonly doc: Document
  readonly text: string
  readonly path: readonly string[]
  readonly value: string | number
}

function splice({ doc, text, path, value }: Place): string | undefined {
  let map: unknown = doc.contents
  for (const [depth, key] of path.entries()) {
    const rest = path.slice(depth)
    if (!isMap(map)) return map === null ? append(text, rest, value) : undefined
    const pair = findPair(map, key)
    if (!pair) return addTo({ map, text, path: rest, value })
    const last = depth === path.length - 1
    if (last || isEmpty(pair.value)) {
      return replace({ text, node: pair.value, key: pair.key, path: rest.slice(1), value })
    }
    map = follow(doc, pair.value)
    // What an alias leads to stands elsewhere, and others may use it.
    if (map !== pair.value) return undefined
  }
  return undefined
}

function replace(at: {
  readonly text: string
  readonly node: unknown
  readonly key: unknown
  readonly path: readonly string[]
  readonly value: string | number
}): string | undefined {
  const { text, node, key, path, value } = at
  const written = path.length === 0 ? scalar(value, node) : `{ ${inline(path, value)} }`
  if (!isEmpty(node)) {
    if (!isScalar(node) || !node.range || node.type === 'BLOCK_LITERAL') return undefined
    if (node.type === 'BLOCK_FOLDED') return undefined
    return text.slice(0, node.range[0]) + written + text.slice(node.range[1])
  }
  if (!isScalar(key) || !key.range) return undefined
  const colon = text.indexOf(':', key.range[1])
  if (colon < 0) return undefined
  return `${text.slice(0, colon + 1)} ${written}${text.slice(colon + 1)}`
}

function addTo(at: {
  readonly map: YAMLMap
  readonly text: string
  readonly path: readonly string[]
  readonly value: string | number
}): string | undefined {
  const { map, text, path, value } = at
  const lastPair = map.items.at(-1)
  if (!map.range) return undefined
  if (map.flow) {
    const close = map.range[1] - 1
    const lead = text.slice(0, close).trimEnd()
    const comma = lastPair && !lead.endsWith(',') ? ', ' : ' '
    return `${lead}${comma}${inline(path, value)} ${text.slice(close)}`
  }
  const firstKey = map.items[0]?.key
  if (!isScalar(firstKey) || !firstKey.range) return undefined
  const lineStart = text.lastIndexOf('\n', firstKey.range[0] - 1) + 1
  const indent = text.slice(lineStart, firstKey.range[0])
  if (indent.trim() !== '') return undefined
  // The end of the last value's line: a comment behind it belongs to it.
  const node = lastPair?.value ?? lastPair?.key
  const range = (node as { range?: readonly number[] | null } | undefined)?.range
  if (!range) return undefined
  const valueEnd = text.slice(0, range[1] ?? 0).trimEnd().length
  const lineEnd = text.slice(valueEnd).search(/\r?\n|$/) + valueEnd
  const end = lineEndOf(text)
  return `${text.slice(0, lineEnd)}${end}${block(path, value, indent, end)}${text.slice(lineEnd)}`
}

function append(text: string, path: readonly string[], value: string | number): string {
  const end = lineEndOf(text)
  const lead = text === '' || text.endsWith('\n') ? text : `${text}${end}`
  return `${lead}${block(path, value, '', end)}${end}`
}

function block(
  path: readonly string[],
  value: string | number,
  indent: string,
  end: string,
): string {
  const [key = '', ...rest] = path
  const head = `${indent}${scalar(key)}:`
  if (rest.length === 0) return `${head} ${scalar(value)}`
  return `${head}${end}${block(rest, value, `${indent}  `, end)}`
}

function inline(path: readonly string[], value: string | number): string {
  const [key = '', ...rest] = path
  return `${scalar(key)}: ${rest.length === 0 ? scalar(value) : `{ ${inline(rest, value)} }`}`
}

function scalar(value: string | number, old?: unknown): string {
  if (typeof value === 'number') return String(value)
  const style = isScalar(old) ? old.type : undefined
  if (style === 'QUOTE_SINGLE' && !/['\n]/.test(value)) return `'${value}'`
  if (style === 'QUOTE_DOUBLE' || /[,[\]{}\n]/.test(value)) return JSON.stringify(value)
  return stringify(value, { lineWidth: 0 }).trimEnd()
}

function isEmpty(node: unknown): boolean {
  if (node === null || node === undefined) return true
  return isScalar(node) && node.value === null && (node.source ?? '') === ''
}

function lineEndOf(text: string): string {
  return /\r\n/.test(text) ? '\r\n' : '\n'
}

function withValue(values: Values, path: readonly string[], value: string | number): Values {
  const [key = '', ...rest] = path
  if (rest.length === 0) return { ...values, [key]: value }
  const inner = values[key]
  const map = typeof inner === 'object' && inner !== null ? (inner as Values) : {}
  return { ...values, [key]: withValue(map, rest, value) }
}

// An unresolved or exploding alias throws; then nothing is edited.
function valuesOf(doc: Document): unknown {
  try {
    return doc.toJS()
  } catch {
    return undefined
  }
}

function same(a: unknown, b: unknown): boolean {
  return JSON.stringify(a) === JSON.stringify(b)
}
