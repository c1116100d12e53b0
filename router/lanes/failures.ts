/** What a failed connection to an upstream is called. */
import { ROUTER_ERRORS } from '../../model/errors-router.ts'
import type { ErrorRule } from '../../model/errors.ts'

const TLS = /^(?:ERR_TLS|ERR_SSL|CERT_|UNABLE_TO|SELF_SIGNED|DEPTH_ZERO|HOSTNAME|EPROTO$)/

/** The rule for an error that came before the head of an answer. */
export function ruleOf(error: NodeJS.ErrnoException): ErrorRule {
  const code = error.code ?? ''
  if (code === 'ECONNRESET' || code === 'EPIPE') return ROUTER_ERRORS.UPSTREAM_RESET
  if (code.startsWith('HPE_')) return ROUTER_ERRORS.UPSTREAM_GARBAGE
  if (TLS.test(code)) return ROUTER_ERRORS.UPSTREAM_TLS
  if (code === 'ETIMEDOUT') return ROUTER_ERRORS.UPSTREAM_CONNECT_TIMEOUT
  return ROUTER_ERRORS.UPSTREAM_UNREACHABLE
}
