import t from 'tap'
import { runLint } from '../../scripts/lint.ts'
import { APPOINTMENTS_YAML, BANYAN_YAML, PATIENTS_YAML, swap } from '../support/project-files.ts'

async function lintFolder(
  t: Tap.Test | typeof import('tap').t,
  files: Parameters<typeof t.testdir>[0],
  json = false,
) {
  const folder = t.testdir(files)
  let out = ''
  const write = (text: string) => void (out += text)
  const exit = await runLint({ config: `${folder}/banyan.yaml`, json, color: false, write })
  return { exit, out }
}
