/**
 * What a request's path means to the monolith: the readings of a spelling. Routing looks at these copies; the bytes that are
 * forwarded stay as they came.
 *
 * A framework treats several spellings of a path as one, and what stands in front of it (a web server, a load balancer)
 * may treat more. A preset says of each such habit: it always happens, it never does, or it may. Where it may, both
 * readings are returned, and the table asks whether they agree. Reading too much together is harmless (the service
 * answers 404 where the monolith would have); reading too little lets a write slip past a flip.
 */
import type { Aliases } from '../model/orders.ts'

type Habit = 'always' | 'never' | 'maybe'

export interface AliasRules {
  /** `/API/x` is `/api/x`. Never a matter of `maybe`: it would double every request's work. */
  readonly foldCase: 'always' | 'never'
  /** `/x/` is `/x`. */
  readonly trailingSlash: 'always' | 'never'
  /** `/x.json` is `/x` (the last segment's suffix). */
  readonly formatSuffix: 'always' | 'never'
  /** `/x./y ` is `/x/y`. */
  readonly trailingDot: 'always' | 'never'
  /** `/x;a=b/y` is `/x/y`. */
  readonly matrixParams: Habit
  /** `//x` is `/x`. */
  readonly duplicateSlashes: Habit
  /** `/x/../y` is `/y`. */
  readonly dotSegments: Habit
  /** `%2F` separates segments. */
  readonly encodedSlash: Habit
  /** `\` and `%5C` separate segments. */
  readonly backslash: Habit
  /** `%2570` is `p`: decoded twice on the way. */
  readonly doubleDecoding: Habit
  /** A path ends at `%00`. */
  readonly nul: Habit
}

const CAUTIOUS = {
  matrixParams: 'never',
  duplicateSlashes: 'maybe',
  dotSegments: 'maybe',
  encodedSlash: 'maybe',
  backslash: 'maybe',
  doubleDecoding: 'maybe',
  nul: 'maybe',
} as const

const STRICT = {
  foldCase: 'never',
  trailingSlash: 'never',
  formatSuffix: 'never',
  trailingDot: 'never',
} as const

// prettier-ignore
export const ALIASES: Readonly<Record<Aliases, AliasRules>> = {
  express: { ...CAUTIOUS, ...STRICT, foldCase: 'always', trailingSlash: 'always' },
  rails:   { ...CAUTIOUS, ...STRICT, trailingSlash: 'always', formatSuffix: 'always', duplicateSlashes: 'always' },
  spring:  { ...CAUTIOUS, ...STRICT, trailingSlash: 'always', matrixParams: 'always' },
  aspnet:  { ...CAUTIOUS, ...STRICT, foldCase: 'always', trailingSlash: 'always', trailingDot: 'always', backslash: 'always' },
  php:     { ...CAUTIOUS, ...STRICT, trailingSlash: 'always', duplicateSlashes: 'always', dotSegments: 'always' },
  strict:  { ...STRICT, matrixParams: 'never', duplicateSlashes: 'never', dotSegments: 'never', encodedSlash: 'never', backslash: 'never', doubleDecoding: 'never', nul: 'never' },
}

/** A path's segments, as patterns see them (model/route.ts). */
export type Reading = readonly string[]

/** Longer paths with anything unusual in them are not read (each habit doubles the work): `undefined` from readingsOf. */
export const UNUSUAL_PATH_MAX_CHARS = 2048

const HABITS = [
  'nul',
  'doubleDecoding',
  'encodedSlash',
  'backslash',
  'matrixParams',
  'duplicateSlashes',
  'dotSegments',
] as const satisfies readonly (keyof AliasRules)[]
type Toggle = (typeof HABITS)[number]
type Choice = Readonly<Record<Toggle, boolean>>

const PLAIN = /^(?:\/[A-Za-z0-9_~-]+)+$/
const UNUSUAL = /%(?:2F|5C|00|25)|\/\/|(?:^|\/)\.{1,2}(?:\/|$)|;/

/** The path of a request target: origin form, absolute form, or `*` (which no pattern matches). */
export function pathOf(target: string): string {
  const end = target.search(/[?#]/)
  const path = end === -1 ? target : target.slice(0, end)
  if (path.startsWith('/')) return path
  const absolute = /^[A-Za-z][A-Za-z0-9+.-]*:\/\/[^/]*/.exec(path)
  return absolute ? path.slice(absolute[0].length) || '/' : path
}

/**
 * All that this target's path may mean under the rules, without doubles; almost always one reading. Undefined: too
 * long for something unusual to be read with certainty.
 */
export function readingsOf(target: string, rules: AliasRules): readonly Reading[] | undefined {
  const path = pathOf(target)
  if (PLAIN.test(path))
    return [
      path
        .slice(1)
        .split('/')
        .map(text => fold(text, rules)),
    ]
  if (!path.startsWith('/')) return []
  const text = decode(path)
  if (!UNUSUAL.test(text)) return [read(text, PLAINLY, rules)]
  if (path.length > UNUSUAL_PATH_MAX_CHARS) return undefined
  const readings = new Map<string, Reading>()
  for (const choice of choices(rules)) {
    const reading = read(text, choice, rules)
    readings.set(reading.join('/'), reading)
  }
  return [...readings.values()]
}

/** What the rules do to one static segment of a pattern, so that patterns and paths meet in the same form. */
export function canonicalSegment(text: string, rules: AliasRules): string {
  return fold(decode(text), rules)
}

const PLAINLY = Object.fromEntries(HABITS.map(habit => [habit, false])) as Choice

function choices(rules: AliasRules): readonly Choice[] {
  let all: readonly Choice[] = [PLAINLY]
  for (const habit of HABITS) {
    if (rules[habit] === 'never') continue
    const on = all.map(choice => ({ ...choice, [habit]: true }))
    all = rules[habit] === 'always' ? on : [...all, ...on]
  }
  return all
}

function read(path: string, choice: Choice, rules: AliasRules): Reading {
  let text = path
  if (choice.nul) text = text.split('%00', 1)[0] ?? ''
  if (choice.doubleDecoding) text = decode(text.replaceAll('%25', '%'))
  if (choice.encodedSlash) text = text.replaceAll('%2F', '/')
  if (choice.backslash) text = text.replaceAll('%5C', '/')
  let segments = text.slice(1).split('/')
  if (choice.matrixParams) segments = segments.map(segment => segment.split(';', 1)[0] ?? '')
  if (rules.trailingDot === 'always') segments = segments.map(withoutTrailingDots)
  if (choice.duplicateSlashes) segments = segments.filter((s, i) => s !== '' || last(segments, i))
  if (choice.dotSegments) segments = withoutDots(segments)
  while (segments.at(-1) === '' && (rules.trailingSlash === 'always' || segments.length === 1)) {
    segments.pop()
  }
  if (rules.formatSuffix === 'always') segments = withoutSuffix(segments)
  return segments.map(segment => fold(segment, rules))
}

function fold(text: string, rules: AliasRules): string {
  return rules.foldCase === 'always' ? text.toLowerCase().replace(/%[0-9a-f]{2}/g, upper) : text
}

function upper(text: string): string {
  return text.toUpperCase()
}

function last(list: readonly unknown[], index: number): boolean {
  return index === list.length - 1
}

// Windows drops dots and spaces at the end of a name; `.` and `..` alone stay what they are.
function withoutTrailingDots(segment: string): string {
  return /^\.{1,2}$/.test(segment) ? segment : segment.replace(/[. ]+$/, '')
}

function withoutSuffix(segments: readonly string[]): string[] {
  return segments.map((segment, i) =>
    last(segments, i) ? segment.replace(/(?<=.)\.[A-Za-z0-9]+$/, '') : segment,
  )
}

/** RFC 3986 §5.2.4, on segments. */
function withoutDots(segments: readonly string[]): string[] {
  const out: string[] = []
  for (const [i, segment] of segments.entries()) {
    if (segment === '..') out.pop()
    else if (segment !== '.') out.push(segment)
    if ((segment === '..' || segment === '.') && last(segments, i)) out.push('')
  }
  return out
}

/**
 * Percent-decodes once what can be decoded without changing the structure: everything but `/`, `\`, `%`, control
 * characters and what isn't UTF-8, which stay encoded with upper-case digits. A stray `%` or `\` is written encoded, so
 * that equal means equal.
 */
function decode(text: string): string {
  return text.replace(/(?:%[0-9A-Fa-f]{2})+|%|\\/g, run => {
    if (run === '%') return '%25'
    if (run === '\\') return '%5C'
    return decodeRun(run)
  })
}

/** Character by character: what a run is split by must not change what its characters are. */
function decodeRun(run: string): string {
  const bytes = Buffer.from(run.replaceAll('%', ''), 'hex')
  let out = ''
  for (let at = 0; at < bytes.length;) {
    const byte = bytes[at] ?? 0
    const length = byte < 0x80 ? 1 : byte < 0xe0 ? 2 : byte < 0xf0 ? 3 : 4
    const part = bytes.subarray(at, at + length)
    const char = part.toString('utf8')
    const valid = Buffer.from(char, 'utf8').equals(part) && [...char].length === 1
    out += byte < 0x80 ? keep(byte) : valid ? char : hex(byte)
    at += valid ? length : 1
  }
  return out
}

function keep(byte: number): string {
  const structural = byte < 0x20 || byte === 0x7f || byte === 0x25 || byte === 0x2f || byte === 0x5c
  return structural ? hex(byte) : String.fromCharCode(byte)
}

function hex(byte: number): string {
  return `%${byte.toString(16).toUpperCase().padStart(2, '0')}`
}
