/** Which keys a schema has where, read from its JSON Schema, so that hints and docs can't differ from the validator. */
import { z } from 'zod'
import type { Path } from './source.ts'

/** The part of JSON Schema (draft 7) that our schemas use. */
export interface JsonSchema {
  readonly type?: string
  readonly description?: string
  readonly default?: unknown
  readonly const?: unknown
  readonly enum?: readonly unknown[]
  readonly pattern?: string
  readonly minimum?: number
  readonly maximum?: number
  readonly minItems?: number
  readonly maxItems?: number
  readonly anyOf?: readonly JsonSchema[]
  readonly items?: JsonSchema
  readonly properties?: Readonly<Record<string, JsonSchema>>
  readonly required?: readonly string[]
  readonly propertyNames?: JsonSchema
  readonly additionalProperties?: JsonSchema | false
}

/** The JSON Schema of what may be written (not of the value after defaults and units). */
export function jsonSchemaOf(schema: z.ZodType): JsonSchema {
  return z.toJSONSchema(schema, { target: 'draft-7', io: 'input' }) as JsonSchema
}

/** The keys that are allowed in the map at this path, in the schema's order. */
export function keysAt(schema: z.ZodType, path: Path): string[] {
  const keys = schemasAt(schema, path).flatMap(one => Object.keys(one.properties ?? {}))
  return [...new Set(keys)]
}

/** The words that may be written at this path, beside other texts: `embedded` beside a reference. */
export function wordsAt(schema: z.ZodType, path: Path): string[] {
  const words = schemasAt(schema, path).flatMap(one => one.enum ?? [one.const])
  return words.filter(word => typeof word === 'string')
}

/** Where else a key of this name belongs, as dotted paths of maps: `canary` for `percent`. Not the top. */
export function placesOf(schema: z.ZodType, key: string): string[] {
  const visit = (one: JsonSchema, path: string): string[] =>
    branches(one).flatMap(branch => {
      const own = Object.hasOwn(branch.properties ?? {}, key) && path !== '' ? [path] : []
      const deeper = Object.entries(branch.properties ?? {}).flatMap(([name, value]) =>
        visit(value, path === '' ? name : `${path}.${name}`),
      )
      return [...own, ...deeper]
    })
  return visit(jsonSchemaOf(schema), '')
}

/** A schema's alternatives, flat; itself where it has none. */
export function branches(schema: JsonSchema): readonly JsonSchema[] {
  return schema.anyOf ? schema.anyOf.flatMap(branches) : [schema]
}

function schemasAt(schema: z.ZodType, path: Path): readonly JsonSchema[] {
  let here = branches(jsonSchemaOf(schema))
  for (const step of path) here = here.flatMap(one => inside(one, step)).flatMap(branches)
  return here
}

function inside(schema: JsonSchema, step: PropertyKey): JsonSchema[] {
  const found =
    schema.properties?.[String(step)] ?? (schema.additionalProperties || undefined) ?? schema.items
  return found ? [found] : []
}
