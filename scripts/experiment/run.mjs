// Does feedback change a model for the better? A simulated rater with a rule ranks answers, five methods learn from that, and the rule judges answers to
// prompts that nobody ranked. Every piece is kept in --out and made once, so that a run that was broken off goes on where it stood.
//   node scripts/experiment/run.mjs --bin target/release/fledgling --model FILE [--out DIR] [--rules a,b] [--methods dpo,kto]
// Writes docs/experiment.json and docs/experiment.md of all that is there.

import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { cpus } from 'node:os';
import { basename, join } from 'node:path';
import { parseArgs } from 'node:util';

import { HELD_OUT, NEUTRAL, RANKED } from './prompts.mjs';
import { page } from './page.mjs';
import { rowsOf } from './rows.mjs';
import { ranks, RULES } from './rules.mjs';
import { compare, shape } from './stats.mjs';
import { Tool } from './tool.mjs';

const { values: o } = parseArgs({
  options: {
    bin: { type: 'string', default: 'target/release/fledgling' },
    model: { type: 'string' },
    out: { type: 'string', default: 'target/experiment' },
    docs: { type: 'string', default: 'docs' },
    device: { type: 'string', default: 'cpu' },
    threads: { type: 'string' },
    rules: { type: 'string' },
    methods: { type: 'string', default: 'sft,dpo,ppo,grpo,kto' },
    recipe: { type: 'string', default: 'scripts/experiment/recipe.json' },
  },
});
const TOKENS = 96;
const SAMPLING = { temperature: 1, 'top-p': 0.95, 'max-new-tokens': TOKENS };
/** What the rounds of PPO and GRPO are cut at: the length of the answers that are ranked and judged. */
const CUT = { ppo: { response_length: TOKENS, temperature: 1 }, grpo: { max_completion_length: TOKENS, top_p: 0.95 } };

const recipe = JSON.parse(readFileSync(o.recipe, 'utf8'));
const tool = new Tool(o);
const say = (text) => console.log(`${new Date().toISOString().slice(11, 19)} ${text}`);
const rules = RULES.filter((r) => (o.rules ? o.rules.split(',').includes(r.name) : r.reported));

say(`answers of the base model: ${RANKED.length} prompts × 5, ${HELD_OUT.length} held out × 4`);
const answered = await tool.sample('base/ranked.jsonl', RANKED, { n: 5, seed: 1000, sampling: SAMPLING });
const base = await tool.sample('base/held.jsonl', HELD_OUT, { n: 4, seed: 5000, sampling: SAMPLING });
const neutral = await tool.perplexity('base/neutral.json', NEUTRAL, undefined);

/** Answers, ranked by the rule; only those rankings that say something. */
const ranked = (rule, rows) =>
  rows
    .map((r) => ({
      prompt: [{ role: 'user', content: r.prompt }],
      answers: r.candidates.map((c) => c.text),
      ranks: ranks(r.candidates.map((c) => rule.score(c.text))),
    }))
    .filter((r) => new Set(r.ranks).size > 1);

/** The reward model of a rule, and what it makes of rankings that it has not seen. */
async function rewarded(rule, rows) {
  const run = await tool.tune(`${rule.name}/reward`, 'reward', rowsOf.reward(rows), recipe.reward);
  const held = await tool.score(`${rule.name}/reward/held.jsonl`, ranked(rule, base), run.folder);
  return { folder: run.folder, seconds: run.seconds, updates: run.steps.length, ...held };
}

async function learned(rule, method, rows, reward) {
  const at = `${rule.name}/${method}`;
  const fields = { ...CUT[method], ...recipe[method] };
  const prompts = RANKED.map((p) => ({ prompt: [{ role: 'user', content: p }] }));
  const run = ['ppo', 'grpo'].includes(method)
    ? await tool.tune(at, method, prompts, fields, reward.folder)
    : await tool.tune(at, method, rowsOf[method](rows), fields);
  const tuned = await tool.sample(`${at}/held.jsonl`, HELD_OUT, { n: 4, seed: 5000, adapter: run.folder, sampling: SAMPLING });
  const perplexity = await tool.perplexity(`${at}/neutral.json`, NEUTRAL, run.folder);
  const last = run.steps.slice(-5);
  const mean = (name) => {
    const there = last.map((s) => s[name]).filter((v) => typeof v === 'number');
    return there.length === 0 ? null : there.reduce((a, b) => a + b, 0) / there.length;
  };
  return {
    ...compare(rule, tuned, base),
    ...shape(rule, tuned),
    neutral_perplexity: perplexity,
    perplexity_change: perplexity / neutral - 1,
    kl: mean('kl/base') ?? mean('kl'),
    entropy: mean('entropy'),
    updates: run.steps.length,
    seconds: run.seconds,
    example: { prompt: HELD_OUT[0], base: base[0].candidates[0].text, tuned: tuned[0].candidates[0].text },
  };
}

const found = {
  model: basename(o.model),
  neutral_texts: NEUTRAL.length,
  machine: `${cpus().length} cores, ${cpus()[0]?.model ?? 'unknown'}`,
  device: o.device,
  recipe,
  neutral_perplexity: neutral,
  rules: [],
};
for (const rule of rules) {
  const rows = ranked(rule, answered);
  const about = {
    name: rule.name,
    kind: rule.kind,
    says: rule.says,
    searched: rule.search,
    rankings: rows.length,
    base: shape(rule, base),
    reward: null,
    methods: {},
  };
  found.rules.push(about);
  const methods = o.methods.split(',');
  if (methods.some((m) => ['ppo', 'grpo'].includes(m))) {
    about.reward = await rewarded(rule, rows);
    say(`${rule.name}: reward model, ${about.reward.pairs} held-out pairs, accuracy ${about.reward.accuracy.toFixed(3)}`);
  }
  for (const method of methods) {
    const m = await learned(rule, method, rows, about.reward);
    about.methods[method] = m;
    say(
      `${rule.name}: ${method} wins ${m.win_rate.toFixed(3)} of ${m.wins + m.losses} decided (${m.ties} ties), ` +
        `neutral perplexity ${(100 * m.perplexity_change).toFixed(1)} %, ${m.updates} updates in ${m.seconds.toFixed(0)} s`,
    );
  }
  if (about.reward) delete about.reward.folder;
}
mkdirSync(o.docs, { recursive: true });
writeFileSync(join(o.docs, 'experiment.json'), `${JSON.stringify(found, null, 1)}\n`);
writeFileSync(join(o.docs, 'experiment.md'), page(found));
writeFileSync(join(o.docs, 'experiment.svg'), (await import('./picture.mjs')).picture(found));
say(`written: ${join(o.docs, 'experiment.md')}, experiment.json, experiment.svg`);
