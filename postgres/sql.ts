/** Names and literals in SQL text that can't be parameters (DDL), and the key of our advisory locks. */

/** First key of every advisory lock of ours ("BANY"); the second is the slice's number. Two ints: an application's own bigint lock can't meet it. */
export const LOCK_CLASS = 0x42414e59

export function quote(identifier: string): string {
  return `"${identifier.replaceAll('"', '""')}"`
}

/** `schema.table`, each part quoted. */
export function quoteRelation(relation: string): string {
  const dot = relation.indexOf('.')
  return dot < 0
    ? quote(relation)
    : `${quote(relation.slice(0, dot))}.${quote(relation.slice(dot + 1))}`
}

/** Statements in PL/pgSQL; whatever names stand in them, none ends the block. */
export function doBlock(body: string): string {
  const text = `BEGIN ${body} END`
  return text.includes('$banyan') ? `DO ${literal(text)};` : `DO $banyan$ ${text}; $banyan$;`
}

export function literal(text: string): string {
  return `'${text.replaceAll("'", "''")}'`
}
