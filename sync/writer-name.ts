/** Names that processes give themselves in the database, and what those of one application have in common. */

const UUID = /[0-9a-f]{8}(?:-?[0-9a-f]{4}){3}-?[0-9a-f]{12}/gi
/** The end of a Kubernetes pod's name: the hash of its deployment and five characters, both of an alphabet without vowels. */
const POD = /-[b-df-hj-np-tv-xz24-9]{6,10}-[b-df-hj-np-tv-xz24-9]{5}$/
const WORD_WITH_DIGITS = /[A-Za-z]*\d[A-Za-z\d]*/g

/**
 * `clinic-17` and `clinic-18` → `clinic-*`: an application_name without what differs from one process, server or request
 * to the next, so that an application counts as one writer and its names don't pile up. Of a family: itself.
 */
export function familyOf(application: string): string {
  return application
    .replace(UUID, '*')
    .replace(POD, '-*')
    .replace(WORD_WITH_DIGITS, word => {
      const numbers = word.match(/\d+/g) ?? []
      // Digits among letters are somebody's hash; one number is a number.
      return numbers.length > 1 ? '*' : word.replace(/\d+/, '*')
    })
}
