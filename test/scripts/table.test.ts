import pc from 'picocolors'
import t from 'tap'
import { cut, flow, layOut, lengthOf, printable, wrap } from '../../scripts/table.ts'

const { red, bold } = pc.createColors(true)

const plain = (text: string): string => text.replace(/\u001b\[\d+m/g, '')

void t.test('colors take no room', async t => {
  t.equal(lengthOf(`${red('✖')} ${bold('VERIFY')} →`), 10)
  t.equal(plain(cut(red('abcdef'), 4)), 'abc…')
  t.equal(cut('abcd', 4), 'abcd')
  t.ok(cut(red('abcdef'), 4).endsWith('\u001b[39m…'), 'a color that was cut still ends')
  t.same(
    layOut(
      [
        ['a', red('bb'), 'c'],
        ['dd', 'e', 'f'],
      ],
      80,
    ).map(plain),
    ['a   bb  c', 'dd  e   f'],
  )
})

void t.test('text is broken at blanks, never wider than wanted, and nothing is lost', async t => {
  const text = '  the stream legacy>rooms:visits  is still copying, wait for it'
  for (const width of [24, 25, 40, 80]) {
    const lines = wrap(text, width, '    ')
    t.ok(
      lines.every(line => line.length <= width),
      `${width}`,
    )
    t.equal(lines.join(' ').replace(/ +/g, ' ').trim(), text.replace(/ +/g, ' ').trim())
    t.ok(lines[0]!.startsWith('  the'), 'the first line keeps its own margin')
    t.ok(lines.slice(1).every(line => /^ {4}\S/.test(line)))
  }
  t.same(
    wrap('a bcdefghij k', 5, ' '),
    ['a', ' bcde', ' fghi', ' j k'],
    'only a word that is too wide is cut',
  )
  t.same(wrap(`${red('abcdef')} g`, 3), ['\u001b[31mabc\u001b[0m', '\u001b[31mdef\u001b[39m', 'g'])
})

void t.test('a color that goes over several lines leaves the margins alone', async t => {
  const [first, second] = wrap(red('one two three'), 8, '> ')
  t.equal(first, '\u001b[31mone two\u001b[0m')
  t.equal(second, '> \u001b[31mthree\u001b[39m')
  t.same(
    wrap(`${red('a')} b c`, 3),
    [`${red('a')} b`, 'c'],
    'one that has ended is not begun again',
  )
})

void t.test('parts flow into as many lines as they need', async t => {
  t.same(flow(['aaa', 'bbb', 'ccc'], 10, { indent: '  ' }), ['aaa · bbb', '  ccc'])
})

void t.test('what a database says can not steer a terminal', async t => {
  const value = { role: 'evil\u001b[2J', list: ['a\nb', 'c\u009b1m'], count: 3, none: null }
  t.same(printable(value), { role: 'evil?[2J', list: ['a b', 'c?1m'], count: 3, none: null })
})
