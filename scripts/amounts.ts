/** Times, sizes and counts as screens print them: short, with their unit. */

const MINUTE = 60_000
const HOUR = 60 * MINUTE
const DAY = 24 * HOUR

/** `38 ms`, `1.2 s`, `45 s`, `4 min`, `26 h`, `9 d` */
export function timeText(ms: number): string {
  if (ms < 999.5) return `${Math.round(Math.max(0, ms))} ms`
  if (ms < 9_950) return `${Number((ms / 1000).toFixed(1))} s`
  if (ms < MINUTE) return `${Math.round(ms / 1000)} s`
  if (ms < 2 * HOUR) return `${Math.floor(ms / MINUTE)} min`
  return ms < 3 * DAY ? `${Math.floor(ms / HOUR)} h` : `${Math.floor(ms / DAY)} d`
}

/** `4 min ago` */
export function ageText(ms: number): string {
  return ms < 1000 ? 'just now' : `${timeText(ms)} ago`
}

/** `2026-07-29 09:12:04Z` */
export function clockText(epochMs: number): string {
  return `${new Date(epochMs).toISOString().slice(0, 19).replace('T', ' ')}Z`
}

const SIZES = ['B', 'kB', 'MB', 'GB', 'TB'] as const

/** In PostgreSQL's units: `212 MB`, `1.4 GB`. */
export function sizeText(bytes: number): string {
  let unit = 0
  let amount = bytes
  while (amount >= 1000 && unit < SIZES.length - 1) {
    amount /= 1024
    unit += 1
  }
  return `${amount < 9.95 && unit > 0 ? Number(amount.toFixed(1)) : Math.round(amount)} ${SIZES[unit]}`
}

/** `1,204,991` */
export function countText(count: number): string {
  return count.toLocaleString('en-US')
}

/** `1 router`, `3 routers` */
export function countOf(count: number, noun: string): string {
  return `${countText(count)} ${noun}${count === 1 ? '' : 's'}`
}

/** `29 %`, `0.4 %`; never 0 or 100 where that isn't exact. */
export function shareText(part: number, whole: number): string {
  const percent = (100 * part) / whole
  if (percent === 0 || percent === 100) return `${percent} %`
  if (percent < 0.1) return 'less than 0.1 %'
  if (percent > 99.9) return 'more than 99.9 %'
  return percent < 10 || percent > 90 ? `${percent.toFixed(1)} %` : `${Math.round(percent)} %`
}
