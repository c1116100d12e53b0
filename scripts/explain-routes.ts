/** Which routes a request's path matches, with their places in the files: the one that won, those that lost, and why. */
import { place } from '../model/diagnostic.ts'
import type { LoadedProject, Project } from '../model/project.ts'
import {
  compareSpecificity,
  coversMethod,
  formatRoute,
  matchPattern,
  type Route,
} from '../model/route.ts'
import { ALIASES, readingsOf } from '../router/canonical.ts'
import type { Forward } from '../router/decide.ts'
import { canonicalOf } from './project-files.ts'

export interface PlacedRoute {
  /** `GET,POST /api/x/:id` */
  readonly route: string
  readonly slice: string
  /** `slices/appointments.yaml:4:5` */
  readonly place: string
}

export interface LostRoute extends PlacedRoute {
  /** `method`: it answers other methods. */
  readonly lost: 'specificity' | 'same slice' | 'method'
}

export interface ReadingFound {
  /** A path that the spelling may mean. */
  readonly path: string
  /** Null: no slice's route matches it. */
  readonly won: PlacedRoute | null
}

export interface FoundRoutes {
  readonly won: PlacedRoute | null
  /** The most specific first. */
  readonly lost: readonly LostRoute[]
  /** Undefined: too long for something unusual to be read with certainty. */
  readonly readings: readonly ReadingFound[] | undefined
}

/** `methods`: what the request may mean, its own method and one that a header overrides it with. */
export function findRoutes(
  loaded: LoadedProject & { readonly project: Project },
  asked: {
    readonly methods: readonly string[]
    readonly target: string
    readonly won: Forward | undefined
  },
): FoundRoutes {
  const { aliases } = loaded.project.banyan.legacy
  const readings = readingsOf(asked.target, ALIASES[aliases])
  const all = candidates(loaded)
  const matching = all.filter(({ canonical }) =>
    (readings ?? []).some(reading => matchPattern(canonical, reading)),
  )
  const answers = ({ canonical }: Candidate) => asked.methods.some(m => coversMethod(canonical, m))
  const { won } = asked
  const winner = all.find(
    ({ placed }) => placed.route === won?.route && placed.slice === won.slice?.name,
  )
  const lost = matching
    .filter(each => each !== winner)
    .sort((a, b) => Number(answers(b)) - Number(answers(a)) || bySpecificity(a, b))
    .map((each): LostRoute => ({ ...each.placed, lost: lossOf(each, winner, answers(each)) }))
  return {
    won: winner?.placed ?? null,
    lost,
    readings: readings?.map(reading => ({
      path: `/${reading.join('/')}`,
      won:
        matching
          .filter(each => answers(each) && matchPattern(each.canonical, reading))
          .sort(bySpecificity)[0]?.placed ?? null,
    })),
  }
}

interface Candidate {
  readonly placed: PlacedRoute
  readonly canonical: Route
}

function candidates({
  project,
  sources,
}: LoadedProject & { readonly project: Project }): Candidate[] {
  const canonical = canonicalOf(project.banyan.legacy.aliases)
  return project.slices.flatMap(({ name, file, routes }) =>
    routes.map((route, index) => {
      const span = sources.slices.get(name)?.at(['routes', index], 'value')
      const placed = {
        route: formatRoute(route),
        slice: name,
        place: span ? place(file, span) : file,
      }
      return { placed, canonical: canonical(route) }
    }),
  )
}

function bySpecificity(a: Candidate, b: Candidate): number {
  return compareSpecificity(a.canonical, b.canonical)
}

function lossOf(
  one: Candidate,
  winner: Candidate | undefined,
  answers: boolean,
): LostRoute['lost'] {
  if (!answers) return 'method'
  return winner && bySpecificity(one, winner) === 0 ? 'same slice' : 'specificity'
}
