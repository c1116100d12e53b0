import t from 'tap'
import { suggest } from '../../model/suggest.ts'

const STAGES = ['legacy', 'sync', 'shadow', 'canary', 'moved']

void t.test('one slip in three letters still finds the word', async t => {
  t.equal(suggest('cannary', STAGES), 'canary', 'a letter too many')
  t.equal(suggest('shadw', STAGES), 'shadow', 'a letter too few')
  t.equal(suggest('snyc', STAGES), 'sync', 'two neighbours swapped')
  t.equal(suggest('Legacy', STAGES), 'legacy', 'upper case')
  t.equal(suggest('moves', STAGES), 'moved', 'another letter')
})

void t.test('a word that is near to none suggests nothing', async t => {
  t.equal(suggest('production', STAGES), undefined)
  t.equal(suggest('', STAGES), undefined)
  t.equal(suggest('x', STAGES), undefined)
  t.equal(suggest('sync', []), undefined)
})

void t.test('the nearest of several wins', async t => {
  t.equal(suggest('drainms', ['holdMs', 'drainMs', 'quietMs']), 'drainMs')
  t.equal(suggest('tabels', ['table', 'tables']), 'tables')
})
