/** The text of one YAML file with a way from a value back to its place, and the frame that shows the place. */
import {
  isAlias,
  isCollection,
  isMap,
  isNode,
  isPair,
  isScalar,
  isSeq,
  LineCounter,
  parseDocument,
  visit,
} from 'yaml'
import type { Document, Node, Pair } from 'yaml'

/** A place in a text: line and column start at 1; the length is in characters and never leaves the line. */
export interface Span {
  readonly line: number
  readonly column: number
  readonly length: number
}

/** The way to a value: map keys and list indexes from the top. */
export type Path = readonly PropertyKey[]

/** Something that the YAML parser has to say. */
export interface Complaint {
  readonly code: 'YAML_SYNTAX' | 'YAML_ALIAS' | 'KEY_TWICE' | 'KEY_UNKNOWN' | 'FILE_TOO_LARGE'
  readonly details: readonly string[]
  readonly span: Span
}

export interface Source {
  /** As it is named in messages, relative to the project's folder. */
  readonly file: string
  readonly text: string
  /** The file as plain maps, lists and values; undefined where the text isn't YAML. Not yet validated. */
  readonly raw: unknown
  readonly complaints: readonly Complaint[]
  /** Where a key, or the value that it has, stands; the nearest thing above it where it is missing. */
  at(path: Path, what: 'key' | 'value'): Span
}

/** Longest file that is read, in characters: the largest real slice files have 10,000. */
export const FILE_LENGTH_MAX = 256 * 1024
/** How many nodes aliases may add up to; a bomb of aliases asks for billions. */
const ALIASES_MAX = 100
const TOP: Span = { line: 1, column: 1, length: 1 }

/** Reads a text. Never throws: what is wrong with it stands in `complaints`. */
export function openSource(file: string, text: string): Source {
  if (text.length > FILE_LENGTH_MAX) {
    const details = [`${text.length} characters`, `${FILE_LENGTH_MAX}`]
    return broken(file, text, { code: 'FILE_TOO_LARGE', details, span: TOP })
  }
  const lineCounter = new LineCounter()
  let doc: Document
  try {
    doc = parseDocument(text, { lineCounter, uniqueKeys: true, prettyErrors: false })
  } catch (error) {
    // The parser recurses: a text nested thousands deep ends in a RangeError.
    return broken(file, text, { code: 'YAML_SYNTAX', details: [reason(error)], span: TOP })
  }
  const span = (start: number, end: number): Span => spanOf(text, lineCounter, start, end)
  const complaints = complaintsOf(doc, span)
  return {
    file,
    text,
    raw: complaints.some(complaint => complaint.code.startsWith('YAML')) ? undefined : doc.toJS(),
    complaints,
    at: (path, what) => locate({ doc, path, what, span }),
  }
}

/** The pair of a map that has this key, by what the key is as plain text. */
export function findPair(node: unknown, key: PropertyKey): Pair<unknown, unknown> | undefined {
  if (!isMap(node)) return undefined
  return node.items.find(pair => keyText(pair.key) === String(key))
}

/** The node behind an alias; other nodes are returned as they are. */
export function follow(doc: Document, node: unknown): unknown {
  return isAlias(node) ? node.resolve(doc) : node
}

function broken(file: string, text: string, complaint: Complaint): Source {
  return { file, text, raw: undefined, complaints: [complaint], at: () => TOP }
}

type ToSpan = (start: number, end: number) => Span

function complaintsOf(doc: Document, span: ToSpan): Complaint[] {
  const found = [...doc.errors, ...doc.warnings].map((error): Complaint => {
    const code = error.code === 'DUPLICATE_KEY' ? 'KEY_TWICE' : 'YAML_SYNTAX'
    const details = code === 'KEY_TWICE' ? [] : [error.message]
    return { code, details, span: span(error.pos[0], error.pos[1]) }
  })
  visit(doc, {
    Alias: (_, alias) => {
      if (alias.resolve(doc)) return
      const details = [`nothing is called "${alias.source}"`]
      found.push({ code: 'YAML_ALIAS', details, span: rangeOf(alias, span) })
    },
    Pair: (_, pair) => {
      // A plain object can't hold this key as data, so it would vanish without a word.
      if (keyText(pair.key) !== '__proto__' || !isNode(pair.key)) return
      found.push({
        code: 'KEY_UNKNOWN',
        details: ['__proto__'],
        span: rangeOf(pair.key, span),
      })
    },
  })
  if (found.some(complaint => complaint.code.startsWith('YAML'))) return found
  try {
    doc.toJS({ maxAliasCount: ALIASES_MAX })
  } catch (error) {
    found.push({ code: 'YAML_ALIAS', details: [reason(error)], span: TOP })
  }
  return found
}

function locate(question: {
  readonly doc: Document
  readonly path: Path
  readonly what: 'key' | 'value'
  readonly span: ToSpan
}): Span {
  const { doc, path, span } = question
  let node: unknown = doc.contents
  let place = isNode(node) ? rangeOf(node, span) : TOP
  if (path.length > 0) place = TOP
  for (const [depth, step] of path.entries()) {
    const inside = follow(doc, node)
    if (isSeq(inside)) {
      node = inside.items[Number(step)]
      if (node === undefined) return place
      place = isNode(node) ? rangeOf(node, span) : place
      continue
    }
    const pair = findPair(inside, step)
    if (pair === undefined) return place
    node = pair.value
    const last = depth === path.length - 1
    const wanted = last && question.what === 'value' && hasText(node) ? node : pair.key
    place = isNode(wanted) ? rangeOf(wanted, span) : place
  }
  return place
}

// A key without a value has an empty scalar, which has a place but nothing to point at.
function hasText(node: unknown): node is Node {
  return isNode(node) && node.range != null && node.range[1] > node.range[0]
}

function rangeOf(node: Node, span: ToSpan): Span {
  return node.range ? span(node.range[0], node.range[1]) : TOP
}

function keyText(key: unknown): string | undefined {
  if (isScalar(key)) return key.value === null ? '' : String(key.value)
  if (isCollection(key) || isAlias(key) || isPair(key)) return undefined
  return String(key)
}

function spanOf(text: string, lines: LineCounter, start: number, end: number): Span {
  const at = Math.min(start, text.length)
  const { line, col } = lines.linePos(at)
  const lineEnd = text.slice(at).search(/\r?\n|$/)
  const length = Math.max(1, Math.min(end - at, lineEnd))
  return { line: Math.max(1, line), column: Math.max(1, col), length }
}

function reason(error: unknown): string {
  if (error instanceof RangeError) return 'it is nested too deep'
  return error instanceof Error ? error.message.replace(/\s+/g, ' ') : String(error)
}
