/**
 * Compares two JSON texts by value without losing a digit: numbers are compared as decimals (1.10 is 1.1, but 2^53 + 1
 * isn't 2^53). Says where they differ, never what stands there.
 */
import type { Difference } from '../model/orders.ts'

/** A JSON value in which numbers are their own text. */
type Json = null | boolean | string | JsonNumber | readonly Json[] | ReadonlyMap<string, Json>

class JsonNumber {
  readonly text: string

  constructor(text: string) {
    this.text = text
  }

  equals(other: JsonNumber): boolean {
    return this.text === other.text || decimal(this.text) === decimal(other.text)
  }
}

/** Deeper texts aren't compared; no API nests like this, and the stack is finite. */
const DEPTH_MAX = 200

export type Found = Pick<Difference, 'path' | 'kind'>

/** The first difference; null: equal by value; undefined: at least one of the two isn't JSON that can be read. */
export function compareJson(legacy: string, service: string): Found | null | undefined {
  const a = parse(legacy)
  const b = parse(service)
  return a === undefined || b === undefined ? undefined : differ(a, b, '$')
}

function differ(a: Json, b: Json, path: string): Found | null {
  if (kindOf(a) !== kindOf(b)) return { path, kind: 'type' }
  if (a instanceof Map && b instanceof Map) return differInKeys(a, b, path)
  if (Array.isArray(a) && Array.isArray(b)) return differInItems(a, b, path)
  const same = a instanceof JsonNumber && b instanceof JsonNumber ? a.equals(b) : a === b
  return same ? null : { path, kind: 'value' }
}

function differInKeys(
  a: ReadonlyMap<string, Json>,
  b: ReadonlyMap<string, Json>,
  path: string,
): Found | null {
  for (const [key, value] of a) {
    const other = b.get(key)
    if (other === undefined) return { path: `${path}.${shown(key)}`, kind: 'missing' }
    const found = differ(value, other, `${path}.${shown(key)}`)
    if (found) return found
  }
  for (const key of b.keys()) {
    if (!a.has(key)) return { path: `${path}.${shown(key)}`, kind: 'extra' }
  }
  return null
}

function differInItems(a: readonly Json[], b: readonly Json[], path: string): Found | null {
  for (let i = 0; i < Math.min(a.length, b.length); i++) {
    const found = differ(a[i] as Json, b[i] as Json, `${path}[${i}]`)
    if (found) return found
  }
  if (a.length === b.length) return null
  const at = `${path}[${Math.min(a.length, b.length)}]`
  return { path: at, kind: a.length > b.length ? 'missing' : 'extra' }
}

// A key can be data (a map by patient): only what looks like a field's name is shown.
function shown(key: string): string {
  return /^[A-Za-z_][A-Za-z_-]{0,63}$/.test(key) ? key : '*'
}

function kindOf(value: Json): string {
  if (value === null) return 'null'
  if (Array.isArray(value)) return 'array'
  return value instanceof Map ? 'object' : value instanceof JsonNumber ? 'number' : typeof value
}

function parse(text: string): Json | undefined {
  try {
    JSON.parse(text)
  } catch {
    return undefined
  }
  return new Reader(text).value(0)
}

const QUOTE = 0x22
const BACKSLASH = 0x5c

/** Reads a text that is known to be JSON, so nothing is checked twice. */
class Reader {
  readonly #text: string
  #at = 0

  constructor(text: string) {
    this.#text = text
  }

  /** Undefined: nested too deep. */
  value(depth: number): Json | undefined {
    if (depth > DEPTH_MAX) return undefined
    this.#skipSpace()
    switch (this.#text[this.#at]) {
      case '{':
        return this.#object(depth + 1)
      case '[':
        return this.#array(depth + 1)
      case '"':
        return this.#string()
      case 't':
        return this.#word('true', true)
      case 'f':
        return this.#word('false', false)
      case 'n':
        return this.#word('null', null)
      default:
        return this.#number()
    }
  }

  #object(depth: number): Json | undefined {
    const fields = new Map<string, Json>()
    this.#at++
    while (!this.#closes('}')) {
      const key = this.#string()
      this.#skipSpace()
      this.#at++ // the colon
      const value = this.value(depth)
      if (value === undefined) return undefined
      fields.set(key, value)
    }
    return fields
  }

  #array(depth: number): Json | undefined {
    const items: Json[] = []
    this.#at++
    while (!this.#closes(']')) {
      const value = this.value(depth)
      if (value === undefined) return undefined
      items.push(value)
    }
    return items
  }

  // Steps over a comma, or over the end.
  #closes(end: string): boolean {
    this.#skipSpace()
    const char = this.#text[this.#at]
    if (char === end || char === ',') this.#at++
    this.#skipSpace()
    return char === end
  }

  #string(): string {
    const start = this.#at
    let at = start + 1
    let plain = true
    for (let code = this.#text.charCodeAt(at); code !== QUOTE; code = this.#text.charCodeAt(at)) {
      if (code === BACKSLASH) plain = false
      at += code === BACKSLASH ? 2 : 1
    }
    this.#at = at + 1
    if (plain) return this.#text.slice(start + 1, at)
    return JSON.parse(this.#text.slice(start, this.#at)) as string
  }

  #number(): JsonNumber {
    const start = this.#at
    while (isNumeric(this.#text.charCodeAt(this.#at))) this.#at++
    return new JsonNumber(this.#text.slice(start, this.#at))
  }

  #word<T>(text: string, value: T): T {
    this.#at += text.length
    return value
  }

  #skipSpace(): void {
    while (this.#text.charCodeAt(this.#at) <= 0x20) this.#at++
  }
}

// Digits, `-`, `+`, `.`, `e`, `E`; NaN (the end) is none of them.
function isNumeric(code: number): boolean {
  const digit = code >= 0x30 && code <= 0x39
  return digit || code === 0x2d || code === 0x2b || code === 0x2e || code === 0x65 || code === 0x45
}

/** One text per decimal value: sign, digits without zeros at either end, exponent. `-0` is `0`. */
function decimal(token: string): string {
  const match = /^(-?)(\d+)(?:\.(\d+))?(?:[eE]([+-]?\d+))?$/.exec(token)
  const [, sign = '', whole = '', fraction = '', exponent = '0'] = match ?? []
  const digits = (whole + fraction).replace(/^0+/, '')
  const significant = digits.replace(/0+$/, '')
  if (significant === '') return '0'
  const shift =
    BigInt(exponent) - BigInt(fraction.length) + BigInt(digits.length - significant.length)
  return `${sign}${significant}e${shift}`
}
