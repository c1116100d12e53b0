/** The key that all routers sign with: made once, by whoever asks first. */
import type { JWK } from 'jose'
import type { Store } from './store.ts'

export async function keepIdentityKey(store: Store, make: () => Promise<JWK>): Promise<JWK> {
  const read = async () =>
    (await store.pool.query<{ jwk: JWK }>('SELECT jwk FROM banyan.identity_key')).rows[0]?.jwk
  const known = await read()
  if (known) return known
  await store.pool.query(
    'INSERT INTO banyan.identity_key (id, jwk) VALUES (1, $1) ON CONFLICT DO NOTHING',
    [JSON.stringify(await make())],
  )
  return (await read())!
}
