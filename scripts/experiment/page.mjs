// docs/experiment.md of what was found.

const NAMES = { sft: 'SFT on the best answer', dpo: 'DPO', ppo: 'reward model → PPO', grpo: 'GRPO on the learned reward', kto: 'KTO' };
const BARS = { dpo: 0.9, ppo: 0.8, grpo: 0.8, kto: 0.8 };
const percent = (x) => `${(100 * x).toFixed(1)} %`;
const number = (x, digits) => (typeof x === 'number' ? x.toFixed(digits) : '–');
const quoted = (text) => `> ${text.trim().replaceAll(/\s*\n+\s*/g, ' ')}`;
/** Lines of at most 150 characters, broken at spaces. */
const wrap = (text) => text.replaceAll(/(.{1,150})(\s+|$)/g, '$1\n').trimEnd();

const COLUMNS = [
  ...['method', 'wins of decided (95 %)', 'ties', 'rule holds', 'neutral perplexity', 'KL', 'entropy'],
  ...['distinct-2', 'tokens', 'cut', 'updates', 'seconds'],
];

function table(rule) {
  const base = ['base', '', '', percent(rule.base.holds), '', '', ''];
  const lines = [COLUMNS, COLUMNS.map(() => '---'), [...base, ...told(rule.base), '', '']];
  for (const [name, m] of Object.entries(rule.methods)) {
    const missed = BARS[name] && m.win_rate < BARS[name] ? ', bar missed' : '';
    const win = `${m.win_rate.toFixed(2)} (${m.interval.map((x) => x.toFixed(2)).join(' to ')})${missed}`;
    const change = `${m.perplexity_change >= 0 ? '+' : ''}${percent(m.perplexity_change)}`;
    lines.push([
      ...[NAMES[name], win, m.ties, percent(m.holds), change, number(m.kl, 3), number(m.entropy, 2)],
      ...[...told(m), m.updates, m.seconds.toFixed(0)],
    ]);
  }
  return lines.map((cells) => `| ${cells.join(' | ')} |`).join('\n');
}

const told = (m) => [number(m.distinct_2, 2), number(m.tokens, 0), percent(m.cut)];

export function page(found) {
  const parts = [
    '# Does feedback change a model for the better?',
    '',
    wrap(
      `Made by \`make experiment\` (scripts/experiment; it goes on where it was broken off). ${found.model}, device ${found.device}, ${found.machine}.`,
    ),
    '',
    wrap(
      'A simulated rater has one stated rule and sees texts alone. It ranks five answers to each of 40 prompts. Five methods learn from those rankings, and ' +
        'the rule compares four answers to each of 40 other prompts with those of the base model, with the same seeds. A win rate is wins / (wins + ' +
        `losses), ties stand beside it. Bars: 0.90 for DPO, 0.80 for PPO, GRPO and KTO, neutral perplexity (${found.neutral_texts} plain texts that have ` +
        'nothing to do with the rule) up by at most 10 %, pair accuracy of the reward model on held-out rankings at least 0.80.',
    ),
    '',
    '![Win rates with their intervals](experiment.svg)',
  ];
  for (const rule of found.rules) {
    const used = rule.searched ? 'The defaults were searched on this rule.' : 'Not used in the search for the defaults.';
    parts.push('', `## ${rule.name}`, '', wrap(`*${rule.says}* ${used}`));
    parts.push('', `${rule.rankings} of 40 rankings have an order.`, '', table(rule));
    if (rule.reward) {
      const r = rule.reward;
      parts.push(
        '',
        wrap(
          `Reward model: ${r.pairs} held-out pairs, accuracy ${r.accuracy.toFixed(3)}, calibration error ${r.calibration_error.toFixed(3)}; ` +
            `${r.updates} updates in ${r.seconds.toFixed(0)} s.`,
        ),
      );
    }
    const shown = rule.methods.dpo ?? Object.values(rule.methods)[0];
    if (shown) {
      parts.push('', `*${shown.example.prompt}*, before and after${rule.methods.dpo ? ' DPO' : ''}:`, '');
      parts.push(wrap(quoted(shown.example.base)).replaceAll('\n', '\n> '), '', wrap(quoted(shown.example.tuned)).replaceAll('\n', '\n> '));
    }
  }
  return `${parts.join('\n')}\n`;
}
