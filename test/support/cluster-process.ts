/** A program that starts a cluster, says where, and waits: for tests that kill it, or that run it as somebody else. */
import { findBinaries } from '../../postgres/binaries.ts'
import { startCluster } from '../../postgres/embedded.ts'

const [dataDir = '', packageFolder, cacheFolder] = process.argv.slice(2)

const binaries = await findBinaries({
  ...(packageFolder !== undefined && { packageFolder }),
  ...(cacheFolder !== undefined && { cacheFolder }),
})
const settings = { fsync: 'off' }
const cluster = await startCluster({ dataDir, name: 'child', binaries, settings })
const { port, pid, runsAs, movedFrom } = cluster
const said = {
  port,
  pid,
  runsAs,
  movedFrom,
  dataDir: cluster.dataDir,
  url: cluster.url(),
  binaries,
}
process.stdout.write(`${JSON.stringify(said)}\n`)
process.stdin.resume()
process.stdin.once('end', () => void cluster.stop())
