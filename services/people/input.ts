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
export const date = pattern(/^\d{4}-\d\d-\d\d$/, 'a date, YYYY-MM-DD')

/** Accepts numbers and their text, as found in paths and queries. */
export const id: Check<number> = (value, name) => {
  if (!/^[1-9]\d{0,14}$/.test(scalar(value))) throw badRequest(`${name} must be a positive integer`)
  return Number(value)
}

export const texts: Check<string[]> = (value, name) => {
  if (!Array.isArray(value) || value.length > 64)
    throw badRequest(`${name} must be a list of texts`)
  return value.map(each => text(100)(each, name))
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
