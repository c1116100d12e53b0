/** What clients send, checked field by field before it meets the database. */
import { badRequest } from './errors.ts'

export type JsonObject = Readonly<Record<string, unknown>>
/** Gives the value in the form the database takes, or throws `bad_request`. */
export type Check<T> = (value: unknown, name: string) => T

/** An absent body is an empty object, so that what is missing is named. */
export function bodyOf(request: { readonly body: unknown }): JsonObject {
  return (request.body ?? {}) as JsonObject
}

export function required<T>(from: JsonObject, name: string, check: Check<T>): T {
  if (from[name] === undefined) throw badRequest(`${name} is required`)
  return check(from[name], name)
}

export function optional<T>(from: JsonObject, name: string, check: Check<T>): T | undefined {
  return from[name] === undefined ? undefined : check(from[name], name)
}

export const orNull =
  <T>(check: Check<T>): Check<T | null> =>
  (value, name) =>
    value === null ? null : check(value, name)

/** `maxLength` counts characters. */
export const text =
  (maxLength: number): Check<string> =>
  (value, name) => {
    if (typeof value !== 'string' || value.length > maxLength || value.includes('\0')) {
      throw badRequest(`${name} must be a text of at most ${maxLength} characters`)
    }
    return value
  }

const pattern =
  (shape: RegExp, what: string): Check<string> =>
  (value, name) => {
    if (typeof value !== 'string' || !shape.test(value)) throw badRequest(`${name} must be ${what}`)
    return value
  }

export const uuid = pattern(/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i, 'a UUID')
export const word = pattern(/^[a-z][a-z_-]{0,31}$/, 'a word in lower case')
export const timestamp = pattern(
  /^\d{4}-\d\d-\d\dT\d\d:\d\d(:\d\d(\.\d{1,6})?)?(Z|[+-]\d\d:\d\d)$/,
  'an ISO 8601 time with its offset',
)

/** Accepts numbers and their text, as found in paths and queries. */
export const id: Check<number> = (value, name) => {
  if (!/^[1-9]\d{0,14}$/.test(scalar(value))) throw badRequest(`${name} must be a positive integer`)
  return Number(value)
}

export const money: Check<string> = (value, name) => {
  const amount = scalar(value)
  if (!/^\d{1,8}(\.\d{1,2})?$/.test(amount))
    throw badRequest(`${name} must be an amount like 12.50`)
  return amount
}

/** A JSON object, as text for a jsonb column. */
export const json: Check<string> = (value, name) => {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw badRequest(`${name} must be an object`)
  }
  return JSON.stringify(value)
}

/** How many rows a list may have. */
export function limit(query: JsonObject, byDefault: number, max: number): number {
  const value = optional(query, 'limit', id) ?? byDefault
  if (value > max) throw badRequest(`limit must be at most ${max}`)
  return value
}

function scalar(value: unknown): string {
  return typeof value === 'string' || typeof value === 'number' ? String(value) : ''
}
