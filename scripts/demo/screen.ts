/** What the demo prints: a line for each thing that happened, and while it waits, one line that says for what. */
import pc from 'picocolors'
import type { Context } from '../context.ts'
import { widthOf, wrap } from '../table.ts'

/** As wide as a mark and the word behind it. */
const INDENT = ' '.repeat(10)

export class Screen {
  readonly #context: Context
  readonly #live: boolean
  readonly #colors: ReturnType<typeof pc.createColors>
  /** Everything that makes the report red. */
  readonly wrong: string[] = []
  /** For `--json`: what was said, in order. */
  readonly said: { ok: boolean; what: string; text: string }[] = []

  constructor(context: Context) {
    this.#context = context
    this.#colors = pc.createColors(context.color)
    this.#live = process.stdout.isTTY && !context.json
  }

  ok(what: string, text: string): void {
    this.said.push({ ok: true, what, text })
    this.#print(this.#marked(this.#colors.green('✔'), what, text))
  }

  bad(what: string, text: string): void {
    this.said.push({ ok: false, what, text })
    this.wrong.push(`${what}: ${text}`)
    this.#print(this.#marked(this.#colors.red('✖'), what, text))
  }

  plain(text: string): void {
    this.#print(text)
  }

  dim(text: string): void {
    const lines = wrap(text, widthOf(this.#context), INDENT)
    this.#print(lines.map(line => this.#colors.dim(line)).join('\n'))
  }

  /** Where something is under way; gone with the next line. Only for a person at a terminal. */
  doing(text: string): void {
    if (this.#live) this.#context.write(`\r\u001b[K${this.#colors.dim(`… ${text}`)}`)
  }

  #marked(mark: string, what: string, text: string): string {
    const head = `${mark} ${this.#colors.bold(what.padEnd(8))}`
    return wrap(`${head}${text}`, widthOf(this.#context), INDENT).join('\n')
  }

  #print(text: string): void {
    if (this.#context.json) return
    this.#context.write(`${this.#live ? '\r\u001b[K' : ''}${text}\n`)
  }
}
