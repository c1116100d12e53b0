/** A stream carries one slice's changes (or a service's read copies) from one database to another; its name says all three. */

/** `legacy`, or the name of a service. */
export type Database = string

/** What a stream of read copies carries, in place of a slice's name. */
export const COPIES = '@copies'

export interface StreamName {
  readonly from: Database
  readonly to: Database
  /** A slice's name, or `@copies`. */
  readonly what: string
}

/** `legacy>scheduling:appointments` */
export function formatStream(stream: StreamName): string {
  return `${stream.from}>${stream.to}:${stream.what}`
}

/** Undefined for a text that is no stream's name. */
export function parseStream(text: string): StreamName | undefined {
  const match = /^([^>:]+)>([^>:]+):([^>:]+)$/.exec(text)
  return match ? { from: match[1]!, to: match[2]!, what: match[3]! } : undefined
}

/** The publication that feeds a stream, in the database it comes from. */
export function publicationOf(stream: StreamName): string {
  return stream.what === COPIES ? `banyan_copies_${stream.to}` : `banyan_${stream.what}`
}

/** Replication slots are names of a whole cluster, so they name the direction too. */
export function slotOf(stream: StreamName): string {
  if (stream.what === COPIES) return `banyan_copies_${stream.to}`
  return `banyan_${stream.what}_${stream.from === 'legacy' ? 'forward' : 'reverse'}`
}

/** In legacy: all of the application's tables whose changes can be published without making its own UPDATEs fail. */
export const CENSUS_PUBLICATION = 'banyan_census'
