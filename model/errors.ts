/** The shape of every error that a person or a client may meet: a row of a table, so that the tables are the manual. */

export interface ErrorRule {
  readonly code: string
  /** `%s` are filled from the details, in order. */
  readonly message: string
  /** What to do; ends in the next command. `%s` are filled by the same details, by index: `%1`, `%2`. */
  readonly hint: string
  readonly status: number
  /** 2 usage · 3 refused · 4 not done, nothing is left half done · 5 a person must decide */
  readonly exit: 2 | 3 | 4 | 5
  /** True where trying again, unchanged, may succeed. */
  readonly retry: boolean
}

type Row = Omit<ErrorRule, 'code' | 'retry'> & { readonly retry?: boolean }

/** Makes a table of rules from rows; the key is the code. Codes are never reused. */
export function defineErrors<const T extends Record<string, Row>>(
  rows: T,
): { readonly [K in keyof T]: ErrorRule } {
  const rules = Object.entries(rows).map(([code, row]) => [code, { code, retry: false, ...row }])
  return Object.fromEntries(rules) as { readonly [K in keyof T]: ErrorRule }
}

/** An error with a code, a message and a hint. Branch on `code` and `rule`, never on the text. */
export class BanyanError extends Error {
  readonly rule: ErrorRule
  readonly hint: string
  readonly details: readonly string[]

  constructor(rule: ErrorRule, details: readonly (string | number)[] = [], options?: ErrorOptions) {
    const texts = details.map(String)
    super(fill(rule.message, texts), options)
    this.name = 'BanyanError'
    this.rule = rule
    this.details = texts
    this.hint = fill(rule.hint, texts)
  }

  get code(): string {
    return this.rule.code
  }
}

function fill(template: string, details: readonly string[]): string {
  let next = 0
  return template.replace(/%(s|[1-9])/g, (_, which: string) => {
    const index = which === 's' ? next++ : Number(which) - 1
    return details[index] ?? '?'
  })
}

/** For what a correct program can't reach. */
export function unreachable(value: never): never {
  throw new Error(`unreachable: ${String(value)}`)
}

/** For what can't be missing here. */
export function must<T>(value: T | null | undefined, what: string): T {
  if (value === null || value === undefined) throw new Error(`missing: ${what}`)
  return value
}
