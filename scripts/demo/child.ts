/** Runs a program of the example as it is, and ends it when whoever started it is gone. `child.js <program> [arguments]` */
import { pathToFileURL } from 'node:url'

const [, , program = ''] = process.argv
process.argv.splice(1, 2, program)
process.on('disconnect', () => process.kill(process.pid, 'SIGTERM'))
// Listening must not keep a program alive that has nothing left to do.
process.channel?.unref()
await import(pathToFileURL(program).href)
