// Who wrote what ships: THIRD-PARTY.md names every crate of the command line and of the wasm, and every npm package of the package and the page, with
// the texts of their licences. And whether all of them are licensed as deny.toml allows, from the registries that it names. Works offline.
//   node scripts/notices.mjs            writes THIRD-PARTY.md
//   node scripts/notices.mjs --check    fails where it differs, or where a licence is not allowed
import { execFileSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));
const www = join(root, 'www');

/** Lists of deny.toml: `name = ["a", "b"]`. */
const deny = readFileSync(join(root, 'deny.toml'), 'utf8').replace(/#.*$/gm, '');
const list = (name) => deny.match(new RegExp(`^${name}\\s*=\\s*\\[([^\\]]*)\\]`, 'm'))?.[1] ?? '';
const allowed = new Set([...list('allow').matchAll(/"([^"]+)"/g)].map((m) => m[1]));

/** Is a licence expression satisfied by what is allowed? Old manifests write a slash for OR. */
function satisfied(expression) {
  const words = expression.replaceAll('/', ' OR ').match(/\(|\)|[^\s()]+/g) ?? [];
  let at = 0;
  const one = () => {
    const word = words[at++];
    if (word !== '(') {
      const with_ = words[at] === 'WITH' ? ` WITH ${words[(at += 2) - 1]}` : '';
      return allowed.has(word + with_);
    }
    const inside = any();
    at++;
    return inside;
  };
  const all = () => {
    let good = one();
    while (words[at] === 'AND') at++, (good = one() && good);
    return good;
  };
  const any = () => {
    let good = all();
    while (words[at] === 'OR') at++, (good = all() || good);
    return good;
  };
  return any();
}

const wrong = [];

/** Crates that are linked into a build: what it needs, and what those need; not what only builds or tests it. */
function crates(platform, features) {
  const args = ['metadata', '--format-version', '1', '--filter-platform', platform, ...features];
  const read = (more) => execFileSync('cargo', [...args, ...more], { cwd: root, maxBuffer: 1 << 28, stdio: ['ignore', 'pipe', 'ignore'] });
  let out;
  try {
    out = read(['--offline']);
  } catch {
    out = read([]);
  }
  const meta = JSON.parse(out);
  const packages = new Map(meta.packages.map((p) => [p.id, p]));
  const nodes = new Map(meta.resolve.nodes.map((n) => [n.id, n]));
  const found = new Map();
  const walk = (id) => {
    const p = packages.get(id);
    if (found.has(id) || p.targets.some((t) => t.kind.includes('proc-macro'))) return;
    found.set(id, p);
    for (const d of nodes.get(id).deps) if (d.dep_kinds.some((k) => k.kind === null)) walk(d.pkg);
  };
  walk(meta.resolve.root);
  for (const p of meta.packages) {
    if (meta.workspace_members.includes(p.id)) continue;
    if (!p.source?.startsWith('registry+')) wrong.push(`${p.name} ${p.version} comes from ${p.source ?? 'a path'}, not from a registry`);
    if (!p.license || !satisfied(p.license)) wrong.push(`${p.name} ${p.version}: deny.toml does not allow the licence ${p.license}`);
  }
  for (const id of meta.workspace_members) found.delete(id); // our own
  return [...found.values()].map((p) => ({ name: p.name, version: p.version, license: p.license ?? '', folder: dirname(p.manifest_path) }));
}

/** Bare imports of the sources: what bundles take from node_modules, with what those depend on. */
function npm() {
  const names = new Set();
  const look = (folder) => {
    for (const e of readdirSync(folder, { withFileTypes: true })) {
      const at = join(folder, e.name);
      if (e.isDirectory()) look(at);
      else if (/\.(ts|tsx|css)$/.test(e.name)) {
        for (const m of readFileSync(at, 'utf8').matchAll(/(?:from|import|@import)\s*\(?\s*['"]([^'".][^'"]*)['"]/g)) {
          const name = m[1].split('/').slice(0, m[1].startsWith('@') ? 2 : 1).join('/');
          if (existsSync(join(www, 'node_modules', name, 'package.json'))) names.add(name);
        }
      }
    }
  };
  look(join(www, 'src'));
  const packages = new Map();
  const walk = (name) => {
    const folder = join(www, 'node_modules', name);
    if (packages.has(name) || !existsSync(join(folder, 'package.json'))) return;
    const p = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8'));
    if (name.startsWith('@types/') || name === '@webgpu/types') return;
    packages.set(name, { name, version: p.version, license: p.license ?? '', folder });
    if (!p.license || !satisfied(p.license)) wrong.push(`${name} ${p.version} (npm): deny.toml does not allow the licence ${p.license}`);
    for (const d of Object.keys(p.dependencies ?? {})) walk(d);
  };
  for (const n of names) walk(n);
  return [...packages.values()];
}

/** The text of the licence that is used: MIT where one may choose. */
function text(p) {
  const files = readdirSync(p.folder).filter((f) => /^(licen[cs]e|copying|unlicense|notice)/i.test(f));
  const rank = (f) => (/mit/i.test(f) ? 0 : /^licen[cs]e(\.(md|txt))?$/i.test(f) ? 1 : /zlib|bsd|isc/i.test(f) ? 2 : /apache/i.test(f) ? 3 : 4);
  const own = files.sort((a, b) => rank(a) - rank(b) || (a < b ? -1 : 1)).filter((f) => !/notice/i.test(f));
  const chosen = [own[0], ...files.filter((f) => /notice|unicode/i.test(f))].filter((f) => f !== undefined);
  const read = (f) => readFileSync(join(p.folder, f), 'utf8').replaceAll('\r', '').split('\n').map((l) => l.trimEnd()).join('\n').trim();
  return [...new Set(chosen)].map(read).join('\n\n');
}

/** Lines that a person can read. */
const wrapped = (t) =>
  t
    .split('\n')
    .flatMap((l) => (l.length <= 150 ? [l] : l.match(/\S.{0,140}(?=\s|$)|\S{141,}/g) ?? [l]))
    .join('\n');

/** A part of the notices: the packages, then each text once. */
function part(title, packages) {
  packages.sort((a, b) => (a.name < b.name ? -1 : a.name > b.name ? 1 : a.version < b.version ? -1 : 1));
  const texts = new Map();
  for (const p of packages) {
    const t = wrapped(text(p)) || `(no text beside it; licensed ${p.license})`;
    texts.set(t, [...(texts.get(t) ?? []), p]);
  }
  const rows = packages.map((p) => `- ${p.name} ${p.version}: ${p.license}`);
  const all = [...texts].map(([t, ps]) => `### ${ps.map((p) => p.name).join(', ')}\n\n\`\`\`text\n${t.replaceAll('```', "'''")}\n\`\`\``);
  return `## ${title}\n\n${rows.join('\n')}\n\n${all.map(wrapped).join('\n\n')}\n`;
}

const wasm = crates('wasm32-unknown-unknown', ['--no-default-features']);
const native = new Map();
for (const platform of ['x86_64-unknown-linux-gnu', 'aarch64-apple-darwin', 'x86_64-pc-windows-msvc'])
  for (const p of crates(platform, [])) native.set(`${p.name} ${p.version}`, p);
const inWasm = new Set(wasm.map((p) => `${p.name} ${p.version}`));
const others = [...native].filter(([k]) => !inWasm.has(k)).map(([, p]) => p);

// The library alone brings nothing that only the command line needs.
for (const p of [...wasm, ...crates('x86_64-unknown-linux-gnu', ['--no-default-features'])])
  if (/^(clap|indicatif|env_logger|pollster|ctrlc)/.test(p.name)) wrong.push(`the library without the feature "cli" brings ${p.name}`);

/** What the npm package carries: the wasm and what is bundled with it. */
const notices = () =>
  [
    '# Third parties\n\nWhat others wrote and fledgling ships. Made by scripts/notices.mjs.\n',
    part('In the npm package and the page', npm()),
    part('Crates in the WebAssembly and in the command line', wasm),
  ].join('\n');
const whole = () => `${notices()}\n${part('Crates in the command line alone (Linux, macOS, Windows)', others)}`;

const at = join(root, 'THIRD-PARTY.md');
const made = whole();
if (!process.argv.includes('--check')) writeFileSync(at, made);
else if (!existsSync(at) || readFileSync(at, 'utf8') !== made) wrong.push('THIRD-PARTY.md is not what ships: node scripts/notices.mjs writes it');
if (wrong.length > 0) {
  console.error([...new Set(wrong)].join('\n'));
  process.exit(1);
}
console.log(`${inWasm.size} crates in the wasm, ${others.length} more in the command line: all licensed as deny.toml allows`);
