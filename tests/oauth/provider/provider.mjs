// An authorization server by oidc-provider, a small API that takes its tokens, and, under /control, what tests ask and steer.
// Its one argument is JSON: redirect_uris, access_s (how long an access token lives), grace_s (how long a used refresh token may
// be used again; 0: its reuse ends the whole grant). It prints its address as its first line.
import { createServer } from 'node:http'
import { text } from 'node:stream/consumers'
import Provider from 'oidc-provider'

const options = { access_s: 600, grace_s: 0, redirect_uris: [], ...JSON.parse(process.argv[2] ?? '{}') }
const counts = { authorization_code: 0, refresh_token: 0, client_credentials: 0, refused: 0, revoked: 0 }
const seen = []
let faults = []
let held = []
let hold = ''

const stored = new Map()
const byGrant = new Map()

class Memory {
  constructor (model) { this.model = model }
  key (id) { return `${this.model}:${id}` }
  async upsert (id, payload) {
    stored.set(this.key(id), payload)
    if (payload.grantId) byGrant.set(payload.grantId, [...(byGrant.get(payload.grantId) ?? []), this.key(id)])
    if (payload.uid) stored.set(`uid:${payload.uid}`, this.key(id))
  }
  async find (id) {
    const found = stored.get(this.key(id))
    if (!found) return undefined
    const { consumed, ...rest } = found
    const lenient = options.grace_s && this.model === 'RefreshToken' && consumed && Date.now() / 1000 - consumed < options.grace_s
    return lenient ? rest : { ...found }
  }
  async findByUid (uid) { return stored.get(stored.get(`uid:${uid}`)) }
  async findByUserCode () { return undefined }
  async consume (id) { stored.get(this.key(id)).consumed ??= Math.floor(Date.now() / 1000) }
  async destroy (id) { stored.delete(this.key(id)) }
  async revokeByGrantId (grant) { for (const key of byGrant.get(grant) ?? []) stored.delete(key) }
}

const server = createServer(async (request, response) => {
  try { await answer(request, response) } catch (error) { console.error(error); response.writeHead(500).end() }
})
await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve))
const issuer = `http://127.0.0.1:${server.address().port}`

const provider = new Provider(issuer, {
  adapter: Memory,
  clients: [
    { client_id: 'shop', client_secret: 'shop-secret-of-the-client', redirect_uris: options.redirect_uris, grant_types: ['authorization_code', 'refresh_token'] },
    { client_id: 'poster', client_secret: 'poster-secret-of-the-client', token_endpoint_auth_method: 'client_secret_post', redirect_uris: options.redirect_uris, grant_types: ['authorization_code', 'refresh_token'] },
    { client_id: 'public', token_endpoint_auth_method: 'none', redirect_uris: options.redirect_uris, grant_types: ['authorization_code', 'refresh_token'] },
    { client_id: 'robot', client_secret: 'robot-secret-of-the-client', redirect_uris: [], response_types: [], grant_types: ['client_credentials'] }
  ],
  claims: { openid: ['sub'] },
  scopes: ['openid', 'orders'],
  features: { clientCredentials: { enabled: true }, revocation: { enabled: true }, rpInitiatedLogout: { enabled: false } },
  findAccount: (_, sub) => ({ accountId: sub, claims: () => ({ sub }) }),
  issueRefreshToken: () => true,
  pkce: { required: () => true },
  rotateRefreshToken: true,
  ttl: { AccessToken: options.access_s, ClientCredentials: options.access_s, RefreshToken: 86400, Session: 3600, Grant: 86400, Interaction: 600 }
})
provider.on('grant.success', (context) => { counts[context.oidc.params.grant_type] += 1 })
provider.on('grant.error', () => { counts.refused += 1 })
provider.on('grant.revoked', () => { counts.revoked += 1 })
const serve = provider.callback()

async function answer (request, response) {
  const { pathname } = new URL(request.url, issuer)
  if (pathname.startsWith('/control/')) return control(pathname.slice(9), new URLSearchParams(await text(request)), response)
  if (pathname.startsWith('/api/')) {
    if (hold === 'api') return held.push(() => api(request, response))
    return api(request, response)
  }
  if (pathname !== '/token') return serve(request, response)
  const fault = faults.shift()
  if (fault) return response.writeHead(fault.status, fault.headers).end(fault.body ?? '')
  if (hold === 'before') return held.push(() => serve(request, response))
  if (hold === 'after') { // what was asked is done, and its answer stays here
    const end = response.end.bind(response)
    response.end = (...given) => { held.push(() => end(...given)); return response }
  }
  serve(request, response)
}

async function api (request, response) {
  const token = (request.headers.authorization ?? '').replace(/^Bearer /, '')
  const found = await provider.AccessToken.find(token) ?? await provider.ClientCredentials.find(token)
  seen.push(token)
  response.writeHead(found ? 200 : 401, { 'content-type': 'application/json' })
  response.end(JSON.stringify(found ? { who: found.accountId ?? found.clientId, sent: request.headers.authorization } : { error: 'invalid_token' }))
}

function control (what, given, response) {
  if (what === 'faults') faults = JSON.parse(given.get('faults'))
  if (what === 'hold') hold = given.get('when')
  if (what === 'drop') { held = []; hold = '' }
  if (what === 'release') { const all = held; held = []; hold = ''; for (const go of all) go() }
  response.writeHead(200, { 'content-type': 'application/json' })
  response.end(JSON.stringify({ counts, held: held.length, seen }))
}

console.log(issuer)
