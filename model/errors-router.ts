/** What can go wrong at the façade. Codes that a client meets travel as problem+json and as `x-banyan: <reason>`. */
import { defineErrors } from './errors.ts'

export const ROUTER_ERRORS = defineErrors({
  ROUTE_INVALID: {
    message: 'route "%s": %s',
    hint: 'write it as `GET /api/x/:id`, `PATCH,DELETE /api/x/:id` or `* /api/x/**`, then run `banyan lint`',
    status: 400,
    exit: 2,
  },
  ROUTE_CONFLICT: {
    message: 'routes "%s" (slice %s) and "%s" (slice %s) match the same request equally well',
    hint: 'make one of them more specific, or take a method out of one, then run `banyan lint`',
    status: 409,
    exit: 2,
  },
  SERVICE_UNKNOWN: {
    message: 'slice "%s" names the service "%s", which the orders do not have',
    hint: 'add it under services in banyan.yaml, then run `banyan lint`',
    status: 409,
    exit: 2,
  },
  UPSTREAM_URL: {
    message: '"%s" is not the URL of an upstream: %s',
    hint: 'write it as `http://host:port` or `https://host`, then run `banyan lint`',
    status: 400,
    exit: 2,
  },
  KEY_RULE: {
    message: 'slice "%s": "%s" says neither a header nor a cookie',
    hint: 'write `header:<name>` or `cookie:<name>` (with `=<value>` under include), then run `banyan lint`',
    status: 400,
    exit: 2,
  },
  WHOAMI_INVALID: {
    message: '"%s" is not a request that says who a session belongs to',
    hint: 'write it as `GET /path` under identity in banyan.yaml, then run `banyan lint`',
    status: 400,
    exit: 2,
  },
})
