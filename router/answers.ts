/** Compares two HTTP answers: status, then bodies, JSON by value and everything else byte for byte. */
import { promisify } from 'node:util'
import { brotliDecompress, gunzip, inflate } from 'node:zlib'
import { compareJson } from './json-compare.ts'
import type { Found } from './json-compare.ts'

export interface Answer {
  readonly status: number
  /** Content-Type and Content-Encoding; empty where there is none. */
  readonly type: string
  readonly encoding: string
  readonly body: Buffer
}

/** The first difference; null: none; undefined: these two can't be compared. Bodies unpack to at most 4 × `mostBytes`. */
export async function compareAnswers(
  legacy: Answer,
  service: Answer,
  mostBytes: number,
): Promise<Found | null | undefined> {
  if (legacy.status !== service.status) return { path: 'status', kind: 'status' }
  const [a, b] = await Promise.all([unpack(legacy, mostBytes), unpack(service, mostBytes)])
  if (!a || !b) return undefined
  if (a.equals(b)) return null
  if (isJson(legacy.type) && isJson(service.type)) {
    const found = compareJson(a.toString('utf8'), b.toString('utf8'))
    if (found !== undefined) return found
  }
  return { path: '$', kind: 'body' }
}

function isJson(type: string): boolean {
  return /^application\/(?:[^;\s]+\+)?json(?:\s*;|$)/i.test(type)
}

const UNPACK = {
  gzip: promisify<Buffer, { maxOutputLength: number }, Buffer>(gunzip),
  'x-gzip': promisify<Buffer, { maxOutputLength: number }, Buffer>(gunzip),
  deflate: promisify<Buffer, { maxOutputLength: number }, Buffer>(inflate),
  br: promisify<Buffer, { maxOutputLength: number }, Buffer>(brotliDecompress),
} as const

async function unpack(answer: Answer, mostBytes: number): Promise<Buffer | undefined> {
  const encoding = answer.encoding.trim().toLowerCase()
  if (encoding === '' || encoding === 'identity' || answer.body.length === 0) return answer.body
  if (!(encoding in UNPACK)) return undefined
  try {
    const options = { maxOutputLength: 4 * mostBytes }
    return await UNPACK[encoding as keyof typeof UNPACK](answer.body, options)
  } catch {
    return undefined
  }
}
