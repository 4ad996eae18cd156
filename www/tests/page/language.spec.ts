// English and Chinese: nothing a person reads stands outside the catalogue, and every view reads in both.
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseAst } from 'rolldown/parseAst';
import { METHODS } from '../../src/page/generated/form.ts';
import zh from '../../src/page/i18n/zh/index.ts';
import { fieldsFor } from '../../src/page/model/learnArgs.ts';
import { expectSound, expectWidth, furnish } from './furnish.ts';
import { expect, go, open, saved, test } from './helpers.ts';
import { www } from './server.ts';

const PAGE = join(www, 'src/page');
const sources = readdirSync(PAGE, { recursive: true, encoding: 'utf8' })
  .filter((f) => /\.tsx?$/.test(f) && !f.startsWith('i18n/zh') && !f.startsWith('generated'))
  .map((name) => ({ name, text: readFileSync(join(PAGE, name), 'utf8') }));

interface Node {
  type: string;
  start: number;
  end: number;
  [key: string]: unknown;
}
const isNode = (x: unknown): x is Node => typeof (x as Node | null)?.type === 'string';
const children = (n: Node): Node[] => Object.values(n).flatMap((v) => (Array.isArray(v) ? v.filter(isNode) : isNode(v) ? [v] : []));

/** What stands in a view as it is: names of the field and of files, marks. */
const AS_IT_IS =
  /^(fledgling|LoRA r|, alpha|SHA-256|EN|\.gguf|model\.safetensors|https?:\S*|[a-z]+_[a-z_]+|temperature|prompt|completion|labels|text|step)$/;
const wordy = (s: unknown): boolean => typeof s === 'string' && /[A-Za-z]{2,}/.test(s) && !AS_IT_IS.test(s.trim());

/** Attributes that are read out or shown, and functions that show what they are given. */
const SHOWN = new Set(['title', 'aria-label', 'label', 'placeholder', 'legend', 'sayLegend', 'help', 'aria-roledescription', 'says']);
const SHOWING: Record<string, number> = { toast: 0, announce: 0, PageError: 1, setWrong: 0 };
const TRANSLATES = new Set(['t', 'rich', 'said']);

const calleeOf = (n: Node): string => (n['callee'] as Node | undefined)?.['name'] as string;

/** What an expression may come to, as far as it is written down in it; null where it is no choice between values. */
function valuesOf(n: Node): Node[] | null {
  if (n.type === 'ConditionalExpression') return [n['consequent'] as Node, n['alternate'] as Node];
  if (n.type === 'LogicalExpression' && n['operator'] === '&&') return [n['right'] as Node];
  if (['TemplateLiteral', 'LogicalExpression', 'TSNonNullExpression'].includes(n.type)) return children(n);
  if (n.type === 'BinaryExpression' && n['operator'] === '+') return children(n);
  return null;
}

/** Text for a person that does not go through the catalogue. */
function leftOver({ name, text }: { name: string; text: string }): string[] {
  const found: string[] = [];
  const check = (n: Node, words: unknown): void => {
    if (wordy(words)) found.push(`${name}: ${text.slice(n.start, n.end).replace(/\s+/g, ' ').slice(0, 100)}`);
  };
  const shown = (n: Node): void => {
    const values = valuesOf(n);
    if (n.type === 'Literal') check(n, n['value']);
    else if (n.type === 'TemplateElement') check(n, (n['value'] as { cooked: string }).cooked);
    else if (values) for (const v of values) shown(v);
    else walk(n);
  };
  const walk = (n: Node): void => {
    if (n.type === 'JSXElement' && /^<(code|kbd)\b/.test(text.slice(n.start, n.end))) return;
    if (n.type === 'CallExpression' && TRANSLATES.has(calleeOf(n))) return;
    if (n.type === 'JSXText') check(n, n['value']);
    else if (n.type === 'JSXAttribute') {
      const value = n['value'] as Node | null;
      const inner = value?.type === 'JSXExpressionContainer' ? (value['expression'] as Node) : value;
      if (inner) (SHOWN.has((n['name'] as { name: string }).name) ? shown : walk)(inner);
    } else if (n.type === 'JSXExpressionContainer') shown(n['expression'] as Node);
    else if (calleeOf(n) in SHOWING)
      for (const [i, a] of (n['arguments'] as Node[]).entries()) (i === SHOWING[calleeOf(n)] ? shown : walk)(a);
    else for (const c of children(n)) walk(c);
  };
  walk(parseAst(text, { lang: name.endsWith('x') ? 'tsx' : 'ts' }) as unknown as Node);
  return found;
}

test('no text of a view stands outside the catalogue', () => {
  const planted = '<p title="Not here">Nor here {x ? "nor here" : t("But here")} {toast(z && "not this")}</p>;';
  expect(leftOver({ name: 'planted.tsx', text: planted })).toHaveLength(4);
  expect(sources.length).toBeGreaterThan(60);
  expect(sources.flatMap(leftOver)).toEqual([]);
});

test('every text has its Chinese one, with the same places to fill in, and none is left from before', () => {
  // That each text in use is a key is the compiler's to say.
  const all = sources.map((s) => s.text).join('\n');
  const places = (s: string): string[] => [...new Set([...s.matchAll(/\{(\w+)\}/g)].map((m) => m[1]!))].sort();
  const wrong = Object.entries(zh.texts).flatMap(([en, chinese]) => [
    ...(all.includes(`'${en.replaceAll("'", "\\'")}'`) || new RegExp(`^\\s*${en.replace(/\W/g, '\\$&')}:`, 'm').test(all)
      ? []
      : [`not in use: ${en}`]),
    ...(/[\u3400-\u9fff]/.test(chinese) || !/[a-z]{3}/i.test(chinese.replace(/\{.*?\}/g, '')) ? [] : [`not translated: ${en}`]),
    ...(places(en).join() === places(chinese).join() ? [] : [`other places: ${en}`]),
  ]);
  expect(wrong).toEqual([]);
});

test('every method, field and chart is explained in Chinese', () => {
  const said = METHODS.flatMap((m) => [
    m.learns,
    m.what,
    ...fieldsFor(m.name).map((f) => f.help),
    ...m.charts.map((c) => c.help),
    ...[...m.groups, ...m.charts.map((c) => c.title)].map((en) => ({ en, zh: '' })),
  ]);
  const missing = said.filter((s) => s.zh === '' && !zh.methods[s.en]).map((s) => s.en);
  expect([...new Set(missing)]).toEqual([]);
  const known = new Set(said.map((s) => s.en));
  expect(Object.keys(zh.methods).filter((en) => !known.has(en))).toEqual([]);
});

const VIEWS = ['#/chat', '#/learn', '#/feedback', '#/adapters', '#/model', '#/settings', '#/bench'];

test('each view reads in Chinese, at two widths: no English sentence is left, nothing is pushed sideways, axe finds nothing', async ({
  browser,
}) => {
  test.setTimeout(120_000);
  const context = await browser.newContext({ viewport: { width: 1280, height: 800 }, bypassCSP: true, reducedMotion: 'reduce' });
  const page = await context.newPage();
  const fetched: string[] = [];
  page.on('request', (r) => fetched.push(new URL(r.url()).pathname));
  await furnish(page);
  await expect(page.locator('html')).toHaveAttribute('lang', 'en');
  const before = fetched.length;
  await page.getByRole('button', { name: '中文' }).click();
  await expect(page.locator('html')).toHaveAttribute('lang', 'zh-CN');
  // Who reads English does not fetch the other catalogue.
  expect(fetched.slice(before).filter((p) => p.endsWith('.js'))).toHaveLength(1);
  for (const width of [1280, 380]) {
    await page.setViewportSize({ width, height: 800 });
    for (const view of VIEWS) {
      await page.evaluate((hash) => void (location.hash = hash), view);
      await expect(page.getByRole('heading', { level: 1 })).toBeVisible();
      await page.evaluate(() => {
        for (const d of document.querySelectorAll('details')) d.open = !d.classList.contains('pop');
      });
      const left = await page.evaluate(() => {
        const own = 'noscript, [role=log], [dir=auto], code, kbd, .chat-name, .facts, .numbers-table, textarea, .offer, option, td';
        const english = /[A-Za-z]{2,}(?:[ ,]+[a-z]{2,}){2,}/;
        const out: string[] = [];
        for (const e of document.querySelectorAll('body *')) {
          if (e.closest(own)) continue;
          for (const node of e.childNodes) if (node.nodeType === Node.TEXT_NODE && english.test(node.nodeValue!)) out.push(node.nodeValue!);
          for (const name of ['aria-label', 'title', 'placeholder']) {
            const value = e.getAttribute(name);
            // A name that a person gave, such as that of a chat, stands in it as it is.
            if (value && english.test(value) && !/[\u3400-\u9fff]/.test(value)) out.push(`${name}: ${value}`);
          }
        }
        return out;
      });
      const h1 = await page.getByRole('heading', { level: 1 }).innerText();
      expect(
        left.filter((t) => t !== h1 || view !== '#/chat'),
        `${view} at ${width}`,
      ).toEqual([]);
      if (width === 1280) await expectSound(page, view);
      else await expectWidth(page, view);
    }
  }
  await context.close();
});

test('the browser chooses the language; a choice is remembered, also in the first picture', async ({ browser }) => {
  const context = await browser.newContext({ locale: 'zh-CN' });
  const page = await context.newPage();
  await open(page, '#/settings');
  await expect(page.locator('html')).toHaveAttribute('lang', 'zh-CN');
  await expect(page.getByRole('heading', { level: 1, name: '设置' })).toBeVisible();
  expect(await page.title()).toBe('设置 · fledgling');
  await page.getByRole('radio', { name: 'English' }).check({ force: true });
  await expect(page.getByRole('heading', { level: 1, name: 'Settings' })).toBeVisible();
  await expect(page.locator('html')).toHaveAttribute('lang', 'en');
  await saved(page);
  const fetched: string[] = [];
  page.on('response', async (r) => r.url().endsWith('.js') && fetched.push(await r.text().catch(() => '')));
  await page.reload();
  await expect(page.getByRole('heading', { level: 1, name: 'Settings' })).toBeVisible();
  expect(fetched.some((text) => text.includes('总体排序'))).toBe(false);
  await go(page, 'Model');
  await expect(page.getByRole('heading', { level: 1, name: 'Model' })).toBeVisible();
  await context.close();
});
