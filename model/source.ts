/** The text of one YAML file with a way from a value back to its place, and the frame that shows the place. */
import { isAlias, isMap, isNode, isScalar, isSeq } from 'yaml'
import { LineCounter, parseDocument, Parser, visit } from 'yaml'
import type { CST, Document, Node, Pair } from 'yaml'

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

/** Longest file that is read, in characters: 500 routes and 200 tables fit; the time to read grows with its square. */
export const FILE_LENGTH_MAX = 64 * 1024
/** How many nodes aliases may add up to; a bomb of aliases asks for billions. */
const ALIASES_MAX = 100
/** Our formats have five levels. */
const DEPTH_MAX = 32
const TOP: Span = { line: 1, column: 1, length: 1 }

/** Reads a text. Never throws: what is wrong with it stands in `complaints`. */
export function openSource(file: string, text: string): Source {
  if (text.length > FILE_LENGTH_MAX) {
    const details = [`${text.length} characters`, `${FILE_LENGTH_MAX}`]
    return broken(file, text, { code: 'FILE_TOO_LARGE', details, span: TOP })
  }
  if (isDeeper(text, DEPTH_MAX)) {
    const details = [`it is nested deeper than ${DEPTH_MAX}`]
    return broken(file, text, { code: 'YAML_SYNTAX', details, span: TOP })
  }
  const lineCounter = new LineCounter()
  const doc = parseDocument(text, { lineCounter, uniqueKeys: true, prettyErrors: false })
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

// The parser's second half recurses, and a text nested 100,000 deep ends the process, not in an error that can be caught.
// Its first half, which splits the text into tokens, doesn't recurse: the depth is read from that.
function isDeeper(text: string, most: number): boolean {
  const open = [...new Parser().parse(text)].map((token): Level => ({ token, depth: 0 }))
  for (let level = open.pop(); level; level = open.pop()) {
    const { token, depth } = level
    if (depth > most) return true
    if (token.type === 'document' && token.value) open.push({ token: token.value, depth })
    if (!('items' in token)) continue
    for (const { key, value } of token.items) {
      for (const inside of [key, value]) if (inside) open.push({ token: inside, depth: depth + 1 })
    }
  }
  return false
}

interface Level {
  readonly token: CST.Token
  readonly depth: number
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
  if (!isScalar(key)) return undefined
  const value: unknown = key.value
  if (value === null) return ''
  return typeof value === 'string' ? value : JSON.stringify(value)
}

function spanOf(text: string, lines: LineCounter, start: number, end: number): Span {
  const at = Math.min(start, text.length)
  const { line, col } = lines.linePos(at)
  const lineEnd = text.slice(at).search(/\r?\n|$/)
  const length = Math.max(1, Math.min(end - at, lineEnd))
  return { line: Math.max(1, line), column: Math.max(1, col), length }
}

function reason(error: unknown): string {
  return error instanceof Error ? error.message.replace(/\s+/g, ' ') : String(error)
}
