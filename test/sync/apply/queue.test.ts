/** The queue between socket and applier: in order, bounded, and holding nothing that was taken. */
import { setImmediate as turn } from 'node:timers/promises'
import v8 from 'node:v8'
import vm from 'node:vm'
import t from 'tap'
import { EventQueue } from '../../../sync/apply/queue.ts'

async function* numbers(count: number, pulled: (n: number) => void = () => undefined) {
  for (let n = 0; n < count; n++) {
    pulled(n + 1)
    yield n
  }
}

void t.test('what goes in comes out, in order, and then the end', async t => {
  const queue = new EventQueue(numbers(1000), 7)
  for (let n = 0; n < 1000; n++) t.equal(await queue.next(), n)
  t.equal(await queue.next(), undefined)
  t.equal(await queue.next(), undefined, 'and stays ended')
  t.equal(queue.ready, false)
  await queue.close()
})

void t.test('reads ahead up to its limit, and goes on as items are taken', async t => {
  let pulled = 0
  const queue = new EventQueue(
    numbers(100, n => (pulled = n)),
    10,
  )
  await turn()
  t.equal(pulled, 10)
  t.ok(queue.ready)
  for (let n = 0; n < 5; n++) await queue.next()
  await turn()
  t.equal(pulled, 15)
  await queue.close()
})

void t.test('a source that fails is heard after what it gave', async t => {
  const lost = new Error('lost')
  async function* failing() {
    yield 1
    yield 2
    throw lost
  }
  const queue = new EventQueue(failing(), 10)
  await turn()
  t.equal(await queue.next(), 1)
  t.equal(await queue.next(), 2)
  await t.rejects(queue.next(), lost)
  await t.rejects(queue.next(), lost, 'again')
  await queue.close()
})

void t.test('who waits for an item gets it when it comes', async t => {
  let give: (n: number) => void = () => undefined
  async function* slow() {
    yield await new Promise<number>(resolve => (give = resolve))
  }
  const queue = new EventQueue(slow(), 10)
  const next = queue.next()
  await turn()
  t.equal(queue.ready, false)
  give(42)
  t.equal(await next, 42)
  t.equal(await queue.next(), undefined)
})

void t.test('closed, it lets the source go, even one that waits for room', async t => {
  let released = false
  async function* endless() {
    try {
      for (let n = 0; ; n++) yield n
    } finally {
      released = true
    }
  }
  const queue = new EventQueue(endless(), 10)
  await turn()
  await queue.next()
  await queue.close()
  t.ok(released)
})

void t.test('keeps nothing that was taken, however long it is never empty', async t => {
  v8.setFlagsFromString('--expose_gc')
  const collect = vm.runInNewContext('gc') as () => void
  const taken: WeakRef<object>[] = []
  async function* rows() {
    for (let n = 0; n < 5000; n++) yield { n }
  }
  const queue = new EventQueue<object>(rows(), 100)
  await turn()
  for (let n = 0; n < 3000; n++) {
    taken.push(new WeakRef((await queue.next())!))
    if (n % 50 === 49) await turn()
    if (!queue.ready) throw new Error('the source fell behind')
  }
  await turn()
  collect()
  const kept = taken.filter(each => each.deref() !== undefined).length
  t.ok(kept <= 200, `${kept} of 3000 are still in memory`)
  await queue.close()
})
