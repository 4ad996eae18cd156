// The search for the defaults: one method, some configurations, the rules that may be searched on. Prints a line each, the best last.
//   node scripts/experiment/search.mjs --bin target/release/fledgling --model FILE --out DIR --configs FILE [--rules a,b] [--method dpo]
//     [--pairs extremes]

import { readFileSync } from 'node:fs';
import { parseArgs } from 'node:util';

import { HELD_OUT, NEUTRAL, RANKED } from './prompts.mjs';
import { ranks, RULES } from './rules.mjs';
import { extremes, rowsOf } from './rows.mjs';
import { compare, shape } from './stats.mjs';
import { Tool } from './tool.mjs';

const { values: o } = parseArgs({
  options: {
    bin: { type: 'string', default: 'target/release/fledgling' },
    model: { type: 'string' },
    out: { type: 'string', default: 'target/experiment' },
    device: { type: 'string', default: 'cpu' },
    threads: { type: 'string' },
    rules: { type: 'string' },
    configs: { type: 'string' },
    method: { type: 'string', default: 'dpo' },
    pairs: { type: 'string', default: 'all' },
    held: { type: 'string', default: '40' },
    tokens: { type: 'string', default: '96' },
  },
});
const tool = new Tool(o);
const sampling = { temperature: 1, 'top-p': 0.95, 'max-new-tokens': Number(o.tokens) };
const held = HELD_OUT.slice(0, Number(o.held));
const answered = await tool.sample('base/ranked.jsonl', RANKED, { n: 5, seed: 1000, sampling });
const base = await tool.sample('base/held.jsonl', held, { n: 4, seed: 5000, sampling });
const neutral = await tool.perplexity('base/neutral.json', NEUTRAL, undefined);
console.log(`base: neutral perplexity ${neutral.toFixed(2)}`);
for (const rule of RULES.filter((r) => (o.rules ? o.rules.split(',').includes(r.name) : r.search))) {
  const rows = answered.map((r) => ({
    prompt: [{ role: 'user', content: r.prompt }],
    answers: r.candidates.map((c) => c.text),
    ranks: ranks(r.candidates.map((c) => rule.score(c.text))),
  }));
  const useful = rows.filter((r) => new Set(r.ranks).size > 1);
  const data = (o.pairs === 'extremes' ? extremes : rowsOf[o.method])(useful);
  console.log(`${rule.name}: base ${JSON.stringify(shape(rule, base))}, ${useful.length} rankings with an order`);
  for (const [name, fields] of Object.entries(JSON.parse(readFileSync(o.configs, 'utf8')))) {
    const at = `${rule.name}/${o.method}-${name}`;
    const run = await tool.tune(at, o.method, data, fields);
    const tuned = await tool.sample(`${at}/held.jsonl`, held, { n: 4, seed: 5000, adapter: run.folder, sampling });
    const perplexity = await tool.perplexity(`${at}/neutral.json`, NEUTRAL, run.folder);
    const found = compare(rule, tuned, base);
    const last = run.steps.at(-1);
    console.log(
      [
        `${rule.name} ${name}: win ${found.win_rate.toFixed(3)} (${found.interval.map((x) => x.toFixed(2)).join('–')}; ${found.ties} ties)`,
        `perplexity ${((perplexity / neutral - 1) * 100).toFixed(1)} %`,
        `kl ${last.kl?.toFixed(3)}, entropy ${last.entropy?.toFixed(2)}, loss ${last.loss.toFixed(3)}`,
        `${run.steps.length} updates in ${run.seconds.toFixed(0)} s`,
        JSON.stringify(shape(rule, tuned)),
      ].join('; '),
    );
  }
}
