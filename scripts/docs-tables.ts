/** Turns the tables of errors and the schemas of files into pages, so that no page can say what the program doesn't do. */
import type { ErrorRule } from '../model/errors.ts'
import { branches } from '../model/schema-keys.ts'
import type { JsonSchema } from '../model/schema-keys.ts'

export interface ErrorArea {
  /** As in the file's name: model/errors-<name>.ts. */
  readonly name: string
  /** What the codes of this area speak of, as a heading. */
  readonly title: string
  readonly rules: Readonly<Record<string, ErrorRule>>
}

/** docs/errors.md, whole. */
export function errorsPage(areas: readonly ErrorArea[]): string {
  const sections = areas.map(({ title, name, rules }) => {
    const rows = Object.values(rules).map(rule => [
      `\`${rule.code}\``,
      sentence(rule.message),
      sentence(rule.hint),
      String(rule.status),
      String(rule.exit),
      rule.retry ? 'yes' : 'no',
    ])
    const table = markdownTable(['Code', 'Message', 'What to do', 'HTTP', 'Exit', 'Again'], rows)
    return `## ${title}\n\n\`model/errors-${name}.ts\`\n\n${table}`
  })
  return `# Errors

<!-- Generated from the tables in model/ by \`npm run docs\`. Edit those. -->

Every error has a code, and a code is never used for anything else. \`…\` is filled in when it happens.
**Exit** is what a command ends with: 2 usage, 3 refused, 4 not done (timed out, stopped waiting) and nothing left half done, 5 a person must decide.
**Again** says whether trying again, unchanged, may succeed.

${sections.join('\n\n')}
`
}

/** One table of all keys of a file format, in the schema's order. */
export function configTable(schema: JsonSchema): string {
  return markdownTable(['Key', 'Takes', 'Default', 'Meaning'], keyRows(schema, ''))
}

function keyRows(schema: JsonSchema, path: string): string[][] {
  return branches(schema).flatMap(branch => {
    const own = Object.entries(branch.properties ?? {}).flatMap(([key, value]) => {
      const name = path === '' ? key : `${path}.${key}`
      const needed = branch.required?.includes(key) ? '**needed**' : standardOf(value)
      const row = [`\`${name}\``, takes(value), needed, value.description ?? '']
      return [row, ...keyRows(value, name)]
    })
    const each = branch.additionalProperties
    if (!each) return own
    const any = each.description ? [[`\`${path}.*\``, takes(each), '–', each.description]] : []
    return [...own, ...any, ...keyRows(each, `${path}.*`)]
  })
}

function standardOf(schema: JsonSchema): string {
  if (schema.default === undefined) return '–'
  if (branches(schema).some(one => one.properties)) return ''
  const { default: standard } = schema
  if (typeof standard === 'object') return Array.isArray(standard) ? 'empty' : 'none'
  return `\`${JSON.stringify(standard).replaceAll('"', '')}\``
}

function takes(schema: JsonSchema): string {
  return branches(schema).map(takesOne).join(' or ')
}

function takesOne(schema: JsonSchema): string {
  if (schema.const !== undefined) return `\`${JSON.stringify(schema.const).replaceAll('"', '')}\``
  if (schema.enum) return schema.enum.map(word => `\`${String(word)}\``).join(', ')
  switch (schema.type) {
    case 'integer':
    case 'number':
      return `${schema.minimum} to ${schema.maximum}`
    case 'array':
      return `list of ${schema.items ? takes(schema.items) : 'anything'}`
    case 'object':
      return schema.additionalProperties ? `map to ${takes(schema.additionalProperties)}` : 'map'
    case 'boolean':
      return '`true`, `false`'
    case 'null':
      return 'nothing'
    default:
      return 'text'
  }
}

/** Replaces what stands between `<!-- begin: name -->` and `<!-- end: name -->`; undefined where there is no such pair. */
export function fillBlock(page: string, name: string, content: string): string | undefined {
  const [begin, end] = [`<!-- begin: ${name} -->`, `<!-- end: ${name} -->`]
  const from = page.indexOf(begin)
  const to = page.indexOf(end)
  if (from < 0 || to < from) return undefined
  return `${page.slice(0, from + begin.length)}\n${content}\n${page.slice(to)}`
}

/** JSON as prettier prints it: lists of plain values on one line where they fit. */
export function printJson(value: unknown): string {
  const text = JSON.stringify(value, null, 2)
  const list = /^( *)((?:"(?:[^"\\]|\\.)*": )?)\[\n([^[\]{}]*?)\n *\](,?)$/gm
  const joined = text.replace(
    list,
    (whole, indent: string, key: string, body: string, comma: string) => {
      const line = `${indent}${key}[${body.trim().replace(/,\n\s*/g, ', ')}]${comma}`
      return line.length <= 100 ? line : whole
    },
  )
  return `${joined}\n`
}

function markdownTable(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]): string => `| ${cells.map(escapeCell).join(' | ')} |`
  return [line(head), `|${' --- |'.repeat(head.length)}`, ...rows.map(line)].join('\n')
}

function escapeCell(text: string): string {
  return text.replaceAll('|', '\\|').replaceAll('\n', ' ')
}

function sentence(template: string): string {
  const filled = template.replace(/%(?:s|[1-9])/g, '…')
  // Markdown takes `<name>` for HTML, but not inside code.
  return filled.replace(/(`[^`]*`)|</g, (_, code: string | undefined) => code ?? '\\<')
}
