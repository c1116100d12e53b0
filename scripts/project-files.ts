/** Reads the files of a project from disk: banyan.yaml and the slices/ folder beside it. */
import { readdir, readFile } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { CONFIG_ERRORS } from '../model/errors-config.ts'
import { BanyanError } from '../model/errors.ts'
import type { Aliases } from '../model/orders.ts'
import { loadProject } from '../model/project.ts'
import type { FileText, LoadedProject, ProjectTexts } from '../model/project.ts'
import type { Route, Segment } from '../model/route.ts'
import { ALIASES, canonicalSegment } from '../router/canonical.ts'

/**
 * Reads and checks a project. What is wrong with the files stands in `diagnostics`; throws BanyanError CONFIG_MISSING
 * where there is no banyan.yaml.
 */
export async function readProject(
  configPath: string,
): Promise<LoadedProject & { readonly texts: ProjectTexts }> {
  const texts = await readProjectTexts(configPath)
  return { texts, ...loadProject(texts, canonicalOf) }
}

/**
 * The texts of a project, for loadProject. Files are named relative to the folder of `configPath`, as `slices/x.yaml`.
 * A project without slices/ has no slices. Throws BanyanError CONFIG_MISSING.
 */
export async function readProjectTexts(configPath: string): Promise<ProjectTexts> {
  const folder = dirname(configPath)
  const banyan = { file: basename(configPath), text: await textOf(configPath) }
  if (banyan.text === undefined) throw new BanyanError(CONFIG_ERRORS.CONFIG_MISSING, [configPath])
  const names = (await absentAs([], readdir(join(folder, 'slices')))).filter(isSliceFile).sort()
  const slices: FileText[] = []
  for (const name of names) {
    const text = await textOf(join(folder, 'slices', name))
    // Deleted since it was listed: then it isn't there.
    if (text !== undefined) slices.push({ file: `slices/${name}`, text })
  }
  return { banyan: { file: banyan.file, text: banyan.text }, slices }
}

/** A route as the router plants it: two slices must not be able to clash there and not here. */
export function canonicalOf(aliases: Aliases): (route: Route) => Route {
  const rules = ALIASES[aliases]
  const fold = (segment: Segment): Segment =>
    segment.kind === 'static'
      ? { ...segment, text: canonicalSegment(segment.text, rules) }
      : segment
  return route => {
    const last = route.segments.at(-1)
    const slash = last?.kind === 'static' && last.text === '' && rules.trailingSlash !== 'never'
    return { ...route, segments: route.segments.slice(0, slash ? -1 : undefined).map(fold) }
  }
}

// A `.yml` is read too, so that lint can say that it is named wrongly: a file that is silently left aside is a trap.
function isSliceFile(name: string): boolean {
  return /\.ya?ml$/i.test(name) && !name.startsWith('.')
}

function textOf(path: string): Promise<string | undefined> {
  return absentAs(undefined, readFile(path, 'utf8'))
}

async function absentAs<A, T>(absent: A, reading: Promise<T>): Promise<A | T> {
  try {
    return await reading
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return absent
    throw error
  }
}
