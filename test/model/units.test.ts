import fc from 'fast-check'
import t from 'tap'
import { formatDuration, formatSize, parseDuration, parseSize } from '../../model/units.ts'

const seed = Number(process.env['SEED'] ?? Date.now() % 2 ** 31)
t.comment(`SEED=${seed}`)

void t.test('a duration has a number and a unit of PostgreSQL', async t => {
  const good = { '2s': 2000, '500ms': 500, '1.5h': 5_400_000, '5min': 300_000, '7d': 604_800_000 }
  for (const [text, ms] of Object.entries(good)) t.equal(parseDuration(text), ms, text)
  for (const text of ['', '2', 's', '2 s', '-2s', '2S', '2m', '1e3ms', '2s ', '99999999999s']) {
    t.equal(parseDuration(text), undefined, JSON.stringify(text))
  }
})

void t.test('a size has a number and a unit of PostgreSQL, and 1 kB is 1,024 bytes', async t => {
  const good = { '256kB': 262_144, '512B': 512, '1MB': 1_048_576, '0.5GB': 536_870_912 }
  for (const [text, bytes] of Object.entries(good)) t.equal(parseSize(text), bytes, text)
  for (const text of ['', '2', 'kB', '256KB', '256kb', '256k', '1 MB', '-1MB']) {
    t.equal(parseSize(text), undefined, JSON.stringify(text))
  }
})

void t.test('what is printed is read back, whatever the amount', async () => {
  fc.assert(
    fc.property(fc.nat(999_999_999), amount => {
      return (
        parseDuration(formatDuration(amount)) === amount && parseSize(formatSize(amount)) === amount
      )
    }),
    { seed },
  )
})

void t.test('the largest unit that divides the amount is printed', async t => {
  t.equal(formatDuration(86_400_000), '1d')
  t.equal(formatDuration(1500), '1500ms')
  t.equal(formatDuration(0), '0ms')
  t.equal(formatSize(262_144), '256kB')
  t.equal(formatSize(1000), '1000B')
})
