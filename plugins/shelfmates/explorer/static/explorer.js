// The explorer's pages. What a catalogue says reaches the page as text only, never as markup: `el` sets no HTML.

const PAGE = 50
const PARTS = ['semantic', 'lexical', 'codes', 'price', 'category']
const STAGES = ['prepare', 'ingest', 'validate', 'clean', 'weigh', 'embed', 'neighbours', 'audit', 'publish']
const VIEWS = { nights: 'Nights', products: 'Products', decisions: 'Decisions', refused: 'Refused rows', changes: 'Changes', audit: 'Audit' }
const main = document.getElementById('main')
const choice = document.getElementById('night')
let nights = []

// ---- building blocks

function el(tag, attributes = {}, ...children) {
  const svg = ['svg', 'g', 'rect', 'line', 'text', 'title', 'circle'].includes(tag) || attributes.svg
  const node = svg ? document.createElementNS('http://www.w3.org/2000/svg', tag) : document.createElement(tag)
  for (const [name, value] of Object.entries(attributes)) {
    if (name === 'svg' || value === null || value === undefined || value === false) continue
    if (name.startsWith('on')) node.addEventListener(name.slice(2), value)
    else if (name === 'fill') node.style.fill = value
    else if (name === 'width' && !svg) node.style.width = value
    else if (name === 'background') node.style.background = value
    else node.setAttribute(name, value === true ? '' : value)
  }
  node.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false))
  return node
}

const whole = (value) => (value === null || value === undefined ? '' : Number(value).toLocaleString('en'))
const share = (value) => (value === null || value === undefined ? '' : `${(100 * value).toFixed(value < 0.1 ? 2 : 1)} %`)
const figure = (value) => (value === null || value === undefined ? '' : Number.isInteger(value) ? whole(value) : Number(value.toPrecision(4)).toString())
const clock = (seconds) => (seconds < 100 ? `${seconds.toFixed(1)} s` : `${Math.floor(Math.round(seconds) / 60)} min ${Math.round(seconds) % 60} s`)
const isolated = (text) => el('bdi', {}, text ?? '')
const money = (row) => (row.price === null || row.price === undefined ? '' : `${row.price} ${row.currency ?? ''}`)
const colour = (at) => `var(--c${at % 9})`

function table(heads, rows) {
  const cells = heads.map((head) => el('th', { scope: 'col', class: head.startsWith('#') ? 'number' : null }, head.replace('#', '')))
  return el('div', { class: 'scroll' }, el('table', {}, el('thead', {}, el('tr', {}, cells)), el('tbody', {}, rows)))
}

function picture(address, large) {
  let url = null
  try { url = new URL(address) } catch { /* no address, or a path on another machine */ }
  // none from Airflow's own host: a request there is one of whoever looks, and may be one to sign out
  if (!url || !['http:', 'https:'].includes(url.protocol) || url.hostname === location.hostname) return null
  const image = el('img', { class: large ? 'picture large' : 'picture', src: url.href, alt: '', loading: 'lazy', referrerpolicy: 'no-referrer' })
  image.addEventListener('error', () => image.remove())
  return image
}

// ---- where one is: all of it in the address, so that pages can be linked to and gone back to

function place() {
  return Object.fromEntries(new URLSearchParams(location.hash.slice(1)))
}

function to(changed, kept = { night: place().night }) {
  const all = Object.entries({ ...kept, ...changed }).filter(([, value]) => value !== undefined && value !== null && value !== '')
  return `#${new URLSearchParams(all)}`
}

async function ask(path, parameters = {}) {
  const given = Object.entries(parameters).filter(([, value]) => value !== undefined && value !== null && value !== '')
  return answered(await fetch(`${path}?${new URLSearchParams(given)}`, { headers: { accept: 'application/json' } }))
}

async function answered(response) {
  const told = await response.json().catch(() => ({}))
  if (response.ok) return told
  const faults = Array.isArray(told.detail) ? told.detail.map((fault) => `${fault.loc?.at(-1)}: ${fault.msg}`).join('; ') : told.detail
  const detail = typeof faults === 'string' ? faults : response.statusText
  const remedy = { 401: 'Log in to Airflow, then load this page again.', 403: 'Your role in Airflow does not allow it.' }[response.status]
  throw new Error([detail, remedy].filter(Boolean).join(' – '))
}

// ---- nights

function strip(shown, chosen) {
  const step = Math.max(10, Math.min(60, Math.floor(900 / shown.length))), left = 92, high = 46, gap = 22
  const lines = [
    ['products', (n) => n.items, whole],
    ['refused', (n) => n.quarantined_share, share],
    ['recall', (n) => n.recall, figure, true],
    ['churn', (n) => n.churn, share],
  ]
  const top = (row) => 24 + row * (high + gap)
  const width = left + step * shown.length + 110, height = top(lines.length) + 96
  const svg = el('svg', { class: 'chart', viewBox: `0 0 ${width} ${height}`, width, height, role: 'group', 'aria-label': 'Nights at a glance' })
  lines.forEach(([name, of, form, close], row) => {
    const values = shown.map(of).filter((value) => value !== null && value !== undefined)
    const most = Math.max(...values, 0), least = close ? Math.min(...values, most) - Math.max((most - Math.min(...values)) * 0.5, 0.01) : 0
    svg.append(el('text', { x: 0, y: top(row) + high / 2 + 4 }, name))
    if (values.length) svg.append(el('text', { x: left + step * shown.length + 8, y: top(row) + 10 }, `${form(most)} most`))
    svg.append(el('line', { x1: left, x2: left + step * shown.length, y1: top(row) + high, y2: top(row) + high, stroke: 'var(--line)' }))
    shown.forEach((night, at) => {
      const value = of(night)
      if (value === null || value === undefined) return
      const tall = most > least ? Math.max(1, (high * (value - least)) / (most - least)) : 1
      svg.append(el('rect', { x: left + at * step + 1, y: top(row) + high - tall, width: step - 2, height: tall, fill: 'var(--quiet)' }))
    })
  })
  const base = top(lines.length) + 60
  const longest = Math.max(...shown.map((night) => total(night)), 0.001)
  svg.append(el('text', { x: 0, y: base - 24 }, 'time by stage'), el('text', { x: left + step * shown.length + 8, y: base - 48 }, `${clock(longest)} most`))
  shown.forEach((night, at) => {
    let y = base
    for (const stage of night.stages) {
      const tall = (60 * stage.seconds) / longest
      y -= tall
      svg.append(el('rect', { x: left + at * step + 1, y, width: step - 2, height: Math.max(0.4, tall), fill: colour(STAGES.indexOf(stage.stage)) }))
    }
    const dot = { published: 'var(--good)', held: 'var(--held)', failed: 'var(--bad)' }[night.state] ?? 'var(--working)'
    svg.append(el('circle', { cx: left + at * step + step / 2, cy: 10, r: Math.min(5, step / 2 - 1), fill: dot }))
    const label = `${night.night}: ${night.state}`
    svg.append(el('a', { svg: true, href: to({ night: night.night, view: 'audit' }), 'aria-label': label },
      el('rect', { class: night.night === chosen ? 'hit chosen' : 'hit', x: left + at * step, y: 2, width: step, height: base + 2 }, el('title', {}, `${label}\n${whole(night.items)} products, ${share(night.quarantined_share)} refused\nrecall ${figure(night.recall)}, churn ${share(night.churn)}\n${clock(total(night))}`))))
    if (at % Math.ceil(70 / step) === 0) svg.append(el('text', { x: left + at * step, y: base + 18 }, night.night.slice(5)))
  })
  return svg
}

// of a night that is run again: what readers of the tables have, and how far the last run is
const stateOf = (night) => (night.state === 'published' || !night.published
  ? el('span', { class: `state ${night.state}` }, night.state)
  : el('span', {}, el('span', { class: 'state published' }, 'published'), ', ', el('span', { class: `state ${night.state}` }, `run again: ${night.state}`)))

const total = (night) => night.stages.reduce((sum, stage) => sum + stage.seconds, 0)

function overview() {
  const chosen = here().night
  const rows = [...nights].reverse().map((night) => el('tr', { class: { held: 'warn', failed: 'bad' }[night.state] },
    el('td', {}, el('a', { href: to({ night: night.night, view: 'audit' }) }, night.night)),
    el('td', {}, stateOf(night), night.released ? [' (released by ', isolated(night.released.who), ')'] : '', night.broken ? el('div', { class: 'quiet' }, isolated(night.broken.join(', '))) : null),
    el('td', { class: 'number' }, whole(night.items)), el('td', { class: 'number' }, whole(night.quarantined)),
    el('td', { class: 'number' }, share(night.quarantined_share)), el('td', { class: 'number' }, whole(night.new_vectors)),
    el('td', { class: 'number' }, figure(night.recall)), el('td', { class: 'number' }, share(night.churn)),
    el('td', { class: 'number' }, clock(total(night)))))
  const legend = STAGES.map((stage, at) => el('span', {}, el('i', { background: colour(at) }), stage))
  return [
    el('h2', {}, 'Nights at a glance'),
    el('div', { class: 'scroll' }, strip(nights, chosen)),
    el('div', { class: 'legend' }, legend),
    table(['night', 'state', '#products', '#refused', '#share', '#new texts', '#recall', '#churn', '#time'], rows),
  ]
}

// ---- products

function finder(text) {
  const field = el('input', { type: 'search', id: 'search', value: text ?? '', placeholder: 'words of title, brand, model, GTIN or id', maxlength: 1000 })
  return el('form', { role: 'search', onsubmit: (event) => { event.preventDefault(); location.hash = to({ view: 'products', text: field.value }) } },
    el('label', { for: 'search' }, 'Search products'), field, el('button', { class: 'main' }, 'Search'))
}

function pages(found, skip, link) {
  if (found <= PAGE) return null
  return el('nav', { class: 'pages', 'aria-label': 'Pages' },
    skip > 0 ? el('a', { href: link(Math.max(0, skip - PAGE)) }, '← before') : null,
    el('span', { class: 'quiet' }, `${whole(skip + 1)} to ${whole(Math.min(found, skip + PAGE))} of ${whole(found)}`),
    skip + PAGE < found ? el('a', { href: link(skip + PAGE) }, 'after →') : null)
}

async function products({ night, text, skip = 0 }) {
  const told = await ask(`nights/${night}/items`, { text, skip, count: PAGE })
  const rows = told.items.map((row) => el('tr', {}, el('td', {}, picture(row.image)),
    el('td', { class: 'title' }, el('a', { href: to({ view: 'product', item: row.item_id }) }, isolated(row.title)), el('div', { class: 'quiet' }, isolated(row.item_id))),
    el('td', {}, isolated(row.brand)), el('td', {}, isolated(row.category)), el('td', { class: 'number' }, money(row)), el('td', {}, isolated(row.source))))
  return [
    finder(text),
    el('p', { class: 'quiet' }, `${whole(told.found)} products`),
    rows.length ? table(['', 'product', 'brand', 'category', '#price', 'source'], rows) : el('p', {}, 'No product of this night has all these words.'),
    pages(told.found, Number(skip), (at) => to({ view: 'products', text, skip: at })),
  ]
}

function score(row) {
  const bars = PARTS.map((part, at) => [part, row.parts[part], at]).filter(([, value]) => value !== null).flatMap(([part, value, at]) => [
    el('span', {}, part), el('span', { class: 'bar' }, el('i', { width: `${Math.max(0, Math.min(1, value)) * 100}%`, background: colour(at) })), el('span', { class: 'number' }, value.toFixed(2))])
  return el('div', { class: 'parts', role: 'img', 'aria-label': PARTS.filter((part) => row.parts[part] !== null).map((part) => `${part} ${row.parts[part].toFixed(2)}`).join(', ') }, bars)
}

function neighbours(rows) {
  return table(['#rank', '', 'product', '#price', '#similarity', 'its parts'], rows.map((row) => el('tr', {}, el('td', { class: 'number' }, row.rank), el('td', {}, picture(row.image)),
    el('td', { class: 'title' }, row.title === null ? isolated(row.item_id) : el('a', { href: to({ view: 'product', item: row.item_id, before: place().before }) }, isolated(row.title)),
      row.new ? el('strong', {}, ` not on ${place().before}`) : null, el('div', { class: 'quiet' }, isolated(row.item_id))),
    el('td', { class: 'number' }, money(row)), el('td', { class: 'number' }, row.similarity.toFixed(3)), el('td', {}, score(row)))))
}

async function product({ night, item, before }) {
  if (!item) return products({ night })
  const told = await ask(`nights/${night}/item`, { item_id: item, before })
  const { title, description, image, attributes, price, currency, ...others } = told.item
  const facts = [['price', money(told.item)], ...Object.entries(others), ...Object.entries(attributes ?? {}), ['description', description]]
  const against = nights.filter((other) => other.night !== night && other.items).map((other) => el('option', { value: other.night, selected: other.night === before }, other.night))
  const choose = el('select', { id: 'before', onchange: () => { location.hash = to({ view: 'product', item, before: choose.value }) } }, el('option', { value: '' }, 'no other night'), against.reverse())
  const made = await ask(`nights/${night}/item/decisions`, { item_id: item })
  return [
    finder(''),
    told.published ? null : el('p', { class: 'note' }, 'The last run of this night is not published: these are the neighbours that it has staged, and not those that readers of the tables have.'),
    el('h2', {}, isolated(title)),
    el('div', { class: 'product' }, picture(image, true) ?? el('span'), el('dl', {}, facts.filter(([, value]) => value !== null && value !== '' && value !== 0).flatMap(([name, value]) => [el('dt', {}, isolated(name)), el('dd', {}, isolated(String(value)))]))),
    el('h2', {}, `Neighbours of ${night}`),
    el('p', {}, el('label', { for: 'before' }, 'beside those of '), choose),
    told.neighbours.length ? neighbours(told.neighbours) : el('p', {}, 'None: it has no text, or nothing it may be matched with.'),
    told.gone.length ? [el('h2', {}, `Neighbours of ${before} that are none on ${night}`), neighbours(told.gone)] : null,
    before && !told.gone.length && !told.neighbours.some((row) => row.new) ? el('p', { class: 'quiet' }, `The same as on ${before}.`) : null,
    Object.entries(DECISIONS).filter(([name]) => made[name]?.length).map(([name, { label }]) => [el('h2', {}, label), decided(name, made[name])]),
  ]
}

// ---- what is made of a night

const linked = (id, title) => el('td', { class: 'title' }, title === null ? isolated(id) : el('a', { href: to({ view: 'product', item: id }) }, isolated(title)), el('div', { class: 'quiet' }, isolated(id)))
const number = (value) => el('td', { class: 'number' }, value)
const DECISIONS = {
  duplicates: { label: 'Duplicates', heads: ['group', 'product', 'source', '#price', 'stays', '#match probability'], cells: (row) => [el('td', {}, isolated(row.group_id)), linked(row.item_id, row.title), el('td', {}, isolated(row.source)), number(money(row)), el('td', {}, row.survivor ? 'yes' : ''), number(row.match_probability.toFixed(3))] },
  price_positions: { label: 'Price positions', heads: ['product', '#price', '#median', '#gap', '#percentile', '#peers', 'far off', 'likely cause'], cells: (row) => [linked(row.item_id, row.title), number(money(row)), number(row.median), number(share(row.gap)), number(share(row.percentile)), number(whole(row.peers)), el('td', {}, row.outlier ? 'yes' : ''), el('td', {}, row.cause ?? (row.outlier ? 'none found' : ''))] },
  substitutes: { label: 'Substitutes', heads: ['in place of', '#rank', 'product', '#price', '#similarity', 'why', 'last listed'], cells: (row) => [linked(row.item_id, row.title), number(row.rank), linked(row.other_id, row.other_title), number(money({ price: row.other_price, currency: row.other_currency })), number(row.similarity.toFixed(3)), el('td', {}, isolated(row.reason)), el('td', {}, row.last_listed)] },
  bundles: { label: 'Bought together', heads: ['product', '#rank', 'with', '#baskets', '#people', '#lift', '#confidence'], cells: (row) => [linked(row.item_id, row.title), number(row.rank), linked(row.other_id, row.other_title), number(whole(row.baskets)), number(whole(row.users)), number(figure(row.lift)), number(share(row.confidence))] },
  recommendations: { label: 'Recommended', heads: ['product', '#price', '#to people', '#rank for those of whom nothing is known'], cells: (row) => [linked(row.item_id, row.title), number(money(row)), number(row.people === null ? 'fewer than 5' : whole(row.people)), number(row.rank_for_anyone ?? '')] },
}

function decided(name, rows) {
  return table(DECISIONS[name].heads, rows.map((row) => el('tr', {}, DECISIONS[name].cells(row))))
}

async function decisions({ night, table: asked, skip = 0 }) {
  const name = Object.hasOwn(DECISIONS, asked ?? '') ? asked : 'duplicates'
  const told = await ask(`nights/${night}/decisions/${name}`, { skip, count: PAGE })
  const choose = el('select', { id: 'table', onchange: () => { location.hash = to({ view: 'decisions', table: choose.value }) } },
    Object.entries(DECISIONS).map(([value, { label }]) => el('option', { value, selected: value === name }, label)))
  return [
    el('p', {}, el('label', { for: 'table' }, `Made of ${night}: `), choose),
    told.made ? el('p', { class: 'quiet' }, `${whole(told.found)} rows`) : el('p', {}, 'None yet: the DAG downstream makes them once a night is published.'),
    told.rows.length ? decided(name, told.rows) : null,
    pages(told.found, Number(skip), (at) => to({ view: 'decisions', table: name, skip: at })),
  ]
}

// ---- refused rows

async function refused({ night, reason, source, skip = 0 }) {
  const told = await ask(`nights/${night}/quarantine`, { reason, source, skip, count: PAGE })
  const known = nights.find((other) => other.night === night)
  const most = Math.max(...told.reasons.map((row) => row.rows), 1)
  const reasons = told.reasons.map((row) => el('tr', {}, el('td', {}, el('a', { href: to({ view: 'refused', reason: row.reason, source: row.source }) }, isolated(row.reason))), el('td', {}, isolated(row.source)),
    el('td', { class: 'number' }, whole(row.rows)), el('td', {}, el('div', { class: 'bar' }, el('i', { width: `${(100 * row.rows) / most}%`, background: colour(1) })))))
  const rows = told.rows.map((row) => el('tr', {}, el('td', { class: 'wide' }, isolated(row.source), el('div', { class: 'quiet' }, isolated(row.file.split('/').at(-1))), `row ${whole(row.row)}`),
    el('td', { class: 'wide' }, row.reasons.map((why) => el('div', {}, isolated(why)))),
    el('td', {}, el('dl', {}, Object.entries(row.values).flatMap(([name, value]) => [el('dt', {}, isolated(name)), el('dd', {}, isolated(String(value ?? '')))])))))
  return [
    el('h2', {}, `Refused rows of ${night}, by reason`),
    reasons.length ? table(['reason', 'source', '#rows', ''], reasons) : el('p', {}, known?.quarantined === undefined ? 'None: no row of this night has been judged.' : 'None: every row of this night was taken.'),
    rows.length ? el('h2', {}, reason ? ['“', isolated(reason), '”'] : 'As they came') : null,
    reason ? el('p', {}, el('a', { href: to({ view: 'refused' }) }, 'all refused rows')) : null,
    rows.length ? table(['where', 'why', 'the row'], rows) : null,
    pages(told.found, Number(skip), (at) => to({ view: 'refused', reason, source, skip: at })),
  ]
}

// ---- two nights

async function changes({ night, before }) {
  const earlier = nights.filter((other) => other.night < night && other.items)
  const from = before && before !== night ? before : earlier.at(-1)?.night
  if (!from) return [el('p', {}, `There is no night before ${night} to compare it with.`)]
  const choose = el('select', { id: 'before', onchange: () => { location.hash = to({ view: 'changes', before: choose.value }) } },
    nights.filter((other) => other.night !== night && other.items).reverse().map((other) => el('option', { value: other.night, selected: other.night === from }, other.night)))
  const told = await ask(`nights/${night}/changes`, { before: from })
  const product = (at) => (row) => el('tr', {}, el('td', { class: 'title' }, el('a', { href: to({ view: 'product', item: row.item_id, before: at === night ? from : null }, { night: at }) }, isolated(row.title)), el('div', { class: 'quiet' }, isolated(row.item_id))), row.lost ? el('td', { class: 'number' }, whole(row.lost)) : null)
  const list = (name, found, at, heads) => [el('h2', {}, `${whole(found.found)} ${name}`), found.rows.length ? table(heads, found.rows.map(product(at))) : null, found.found > found.rows.length ? el('p', { class: 'quiet' }, `the first ${found.rows.length}`) : null]
  const fields = Object.entries(told.changed).filter(([, count]) => count)
  return [
    el('p', {}, el('label', { for: 'before' }, `${night} beside `), choose),
    el('dl', {}, el('dt', {}, 'products of both'), el('dd', {}, whole(told.both)), el('dt', {}, 'came'), el('dd', {}, whole(told.came.found)), el('dt', {}, 'went'), el('dd', {}, whole(told.went.found)),
      fields.flatMap(([name, count]) => [el('dt', {}, `another ${name}`), el('dd', {}, whole(count))]),
      el('dt', {}, 'neighbours lost'), el('dd', {}, `${whole(told.lists.lost)} of ${whole(told.lists.pairs)}, in ${whole(told.lists.found)} lists`)),
    list('lists that lost neighbours', told.lists, night, ['product', '#lost']), list('products came', told.came, night, ['product']), list('products went', told.went, from, ['product']),
  ]
}

// ---- audit, and the release of a held night through Airflow's own form

async function audit({ night }) {
  const told = await ask(`nights/${night}/audit`)
  const known = nights.find((other) => other.night === night)
  const rows = told.checks.map((row) => el('tr', { class: row.passed ? null : row.grade === 'fail' ? 'bad' : 'warn' }, el('td', {}, isolated(row.check)), el('td', {}, row.grade),
    el('td', {}, row.passed ? 'passed' : row.grade === 'fail' ? 'broken' : 'warned'), el('td', { class: 'number' }, figure(row.figure)), el('td', { class: 'number' }, row.bound), el('td', {}, isolated(row.reason))))
  const wrong = known?.stages.filter((stage) => stage.outcome !== 'ok' && !(stage.stage === 'audit' && told.releases.length)) ?? []
  const stages = known?.stages.map((stage) => el('tr', { class: stage.outcome === 'ok' ? null : 'bad' }, el('td', {}, stage.stage), el('td', { class: 'number' }, clock(stage.seconds)), el('td', { class: 'number' }, whole(stage.rows_out)), el('td', { class: 'number' }, whole(Math.round(stage.peak_memory_mb)))))
  return [
    el('h2', {}, `Audit of ${night}, run `, isolated(told.run_id)),
    wrong.map((stage) => el('p', { class: 'note bad' }, `${stage.stage}: `, isolated(stage.outcome.replace(/^\w+Error: /, '')))),
    told.releases.map((row) => el('p', { class: 'note' }, 'Released by ', isolated(row.who), `, ${row.released_at.slice(0, 16).replace('T', ' ')} UTC: `, isolated(row.why))),
    known?.state === 'held' ? await release(told.run_id).catch((error) => el('p', { class: 'note bad' }, 'Airflow cannot be asked for a release: ', isolated(error.message))) : null,
    rows.length ? table(['check', 'grade', 'outcome', '#figure', '#bound', 'why'], rows) : el('p', {}, 'No check has been made in this run.'),
    el('h2', {}, 'Stages'), stages ? table(['stage', '#time', '#rows', '#MB'], stages) : null,
  ]
}

async function release(run) {
  const address = new URL(`../api/v2/dags/catalogue/dagRuns/${encodeURIComponent(run)}/taskInstances/publish/-1/hitlDetails`, document.baseURI)
  const asked = await fetch(address)
  if (asked.status === 404) return el('p', { class: 'note' }, 'Airflow does not ask for a release of this night: its run was not started there or is a dry run, a feed was held before it could be audited, or the time to answer is over.')
  const form = await answered(asked)
  if (form.response_received) return el('p', { class: 'note' }, 'It has been answered: ', isolated((form.chosen_options ?? []).join(', ')))
  const reason = el('textarea', { id: 'reason', rows: 2, cols: 60, maxlength: 1000, required: true, oninput: () => reason.setCustomValidity('') })
  const said = el('p', { role: 'status' })
  const answer = (option) => async (event) => {
    event.preventDefault()
    if (!reason.value.trim()) reason.setCustomValidity('Say why')
    if (!reason.reportValidity()) return
    try {
      await answered(await fetch(address, { method: 'PATCH', headers: { 'content-type': 'application/json' }, body: JSON.stringify({ chosen_options: [option], params_input: { reason: reason.value } }) }))
      said.replaceChildren(`Answered: ${option}. Airflow goes on with it.`)
      for (const control of [reason, ...said.parentElement.querySelectorAll('button')]) control.disabled = true
    } catch (error) { said.replaceChildren(isolated(error.message)) }
  }
  return el('form', { onsubmit: (event) => event.preventDefault() }, el('label', { for: 'reason' }, 'This night is held. Reason'), reason,
    form.options.map((option, at) => el('button', { type: 'button', class: at ? null : 'main', onclick: answer(option) }, option)), said)
}

// ---- the frame

const drawn = { nights: overview, products, product, decisions, refused, changes, audit }

async function look() {
  nights = await ask('nights')
  choice.replaceChildren(...[...nights].reverse().map((night) => el('option', { value: night.night }, `${night.night} ${night.state}`)))
}

// the place with what it leaves out: the newest night that has products, and the overview
function here() {
  const { night, view, ...others } = place()
  const newest = nights.findLast((one) => one.items) ?? nights.at(-1)
  return { ...others, night: /^\d{4}-\d\d-\d\d$/.test(night) ? night : newest.night, view: Object.hasOwn(drawn, view ?? '') ? view : 'nights' }
}

async function show() {
  const asked = location.hash
  const { view, night, ...others } = here()
  const known = nights.find((other) => other.night === night)
  if (!known) choice.append(el('option', { value: night }, `${night} not known`))
  choice.value = night
  document.getElementById('state').replaceChildren(known ? stateOf(known) : '')
  document.title = `${VIEWS[view] ?? 'Product'} ${night} – Shelfmates`
  document.getElementById('views').replaceChildren(...Object.entries(VIEWS).map(([name, label]) =>
    el('a', { href: to({ view: name }, { night }), 'aria-current': name === view || (name === 'products' && view === 'product') ? 'page' : null }, label)))
  main.setAttribute('aria-busy', 'true')
  let content
  try { content = await drawn[view]({ ...others, night }) } catch (error) { content = el('p', { class: 'note bad' }, isolated(error.message)) }
  if (location.hash !== asked) return // gone on meanwhile
  main.replaceChildren(...[content].flat(3).filter(Boolean))
  main.setAttribute('aria-busy', 'false')
}

function theme() {
  const chosen = localStorage.getItem('theme')
  const dark = chosen === 'dark' || (chosen !== 'light' && matchMedia('(prefers-color-scheme: dark)').matches)
  document.documentElement.dataset.theme = dark ? 'dark' : 'light'
}

async function start() {
  theme()
  addEventListener('storage', theme)
  matchMedia('(prefers-color-scheme: dark)').addEventListener('change', theme)
  try { await look() } catch (error) {
    main.replaceChildren(el('p', { class: 'note bad' }, isolated(error.message)))
    return
  }
  if (!nights.length) {
    main.replaceChildren(el('p', { class: 'note' }, 'No night has been run yet: trigger the DAG catalogue.'))
    return
  }
  const given = new URLSearchParams(location.search)
  const asked = nights.find((night) => night.run_id === given.get('run_id') || night.night === given.get('night'))
  if ((given.has('run_id') || given.has('night')) && !asked) {
    main.before(el('p', { class: 'note' }, 'That is not the last run of one of the newest nights: a later one has worked on its night, it has not begun to, or it works on none, as maintenance. Here are the newest nights.'))
  }
  if (asked && !location.hash) history.replaceState(null, '', to({ night: asked.night, view: 'audit' }, {}))
  choice.addEventListener('change', () => { location.hash = to({ ...place(), night: choice.value, before: null, skip: null }, {}) })
  document.querySelector('.skip').addEventListener('click', (event) => { event.preventDefault(); main.focus() })
  addEventListener('hashchange', async () => {
    await look().catch(() => {}) // what the page itself asks for tells what is wrong
    await show()
    if (document.activeElement !== choice) main.focus({ preventScroll: true }) // arrow keys go through its nights
    scrollTo(0, 0)
  })
  await show()
}

start()
