/** Durations, sizes and counts as people write them in the files, and the schemas that hold their limits, units and reasons. */
import { z } from 'zod'

// PostgreSQL's own unit names and factors, so that one team reads one notation: kB is 1,024 bytes.
const DURATION_UNITS: Readonly<Record<string, number>> = {
  ms: 1,
  s: 1_000,
  min: 60_000,
  h: 3_600_000,
  d: 86_400_000,
}
const SIZE_UNITS: Readonly<Record<string, number>> = {
  B: 1,
  kB: 1024,
  MB: 1024 ** 2,
  GB: 1024 ** 3,
}
const DURATION = /^\d{1,9}(?:\.\d{1,3})?(?:ms|s|min|h|d)$/
const SIZE = /^\d{1,9}(?:\.\d{1,3})?(?:B|kB|MB|GB)$/

/** `2s`, `500ms`, `1.5h` → milliseconds, rounded; undefined for anything else. */
export function parseDuration(text: string): number | undefined {
  return DURATION.test(text) ? scale(text, DURATION_UNITS) : undefined
}

/** `256kB`, `1MB` → bytes, rounded; undefined for anything else. */
export function parseSize(text: string): number | undefined {
  return SIZE.test(text) ? scale(text, SIZE_UNITS) : undefined
}

/** Milliseconds in the largest unit that divides them: 86400000 → `1d`, 1500 → `1500ms`. parseDuration reads it back. */
export function formatDuration(ms: number): string {
  return inLargest(ms, DURATION_UNITS)
}

/** Bytes in the largest unit that divides them: 262144 → `256kB`. parseSize reads it back. */
export function formatSize(bytes: number): string {
  return inLargest(bytes, SIZE_UNITS)
}

/** What a limit says of itself. All of it is printed in docs/config.md and in the editors' schemas. */
export interface Limit {
  /** What is limited, as a phrase without a full stop. */
  readonly what: string
  /** Why there is a limit, and why this one; a sentence. */
  readonly why: string
  readonly min: number
  readonly max: number
}

/** A whole number of something. `unit` is a plural noun. */
export function count(limit: Limit & { readonly unit: string; readonly standard: number }) {
  return z
    .int()
    .min(limit.min)
    .max(limit.max)
    .default(limit.standard)
    .meta(about(limit, limit.unit))
}

/** For keys that end in `Ms`: a whole number of milliseconds, or a text with its unit (`2s`). The value is milliseconds. */
export function durationMs(limit: Limit & { readonly standard: string }) {
  const range = z.int().min(limit.min).max(limit.max)
  const text = z.string().regex(DURATION, 'DURATION_INVALID')
  return z
    .union([range, text.transform(written => scale(written, DURATION_UNITS)).pipe(range)])
    .prefault(limit.standard)
    .meta(about(limit, 'milliseconds, or a text with its unit'))
}

/** For keys that end in `Bytes`: a whole number of bytes, or a text with its unit (`256kB`). The value is bytes. */
export function sizeBytes(limit: Limit & { readonly standard: string }) {
  const range = z.int().min(limit.min).max(limit.max)
  const text = z.string().regex(SIZE, 'SIZE_INVALID')
  return z
    .union([range, text.transform(written => scale(written, SIZE_UNITS)).pipe(range)])
    .prefault(limit.standard)
    .meta(about(limit, 'bytes, or a text with its unit'))
}

/** 0 to 100, fractions allowed. */
export function percent(limit: Pick<Limit, 'what' | 'why'> & { readonly standard: number }) {
  return z.number().min(0).max(100).default(limit.standard).meta(about(limit, 'percent'))
}

function about(limit: Pick<Limit, 'what' | 'why'>, unit: string): { description: string } {
  return { description: `${limit.what} (${unit}). ${limit.why}` }
}

function scale(text: string, units: Readonly<Record<string, number>>): number {
  const amount = Number.parseFloat(text)
  return Math.round(amount * (units[text.replace(/^[\d.]+/, '')] ?? Number.NaN))
}

function inLargest(amount: number, units: Readonly<Record<string, number>>): string {
  const fitting = Object.entries(units).filter(([, factor]) => amount % factor === 0)
  const [unit, factor] = (amount === 0 ? fitting[0] : fitting.at(-1)) ?? ['', 1]
  return `${amount / factor}${unit}`
}
