// Figures of answers: who wins, how varied, how long.

/** Wilson's interval of a share at 95 %. */
export function wilson(wins, n) {
  if (n === 0) return [0, 1];
  const z = 1.96;
  const p = wins / n;
  const middle = p + (z * z) / (2 * n);
  const half = z * Math.sqrt((p * (1 - p)) / n + (z * z) / (4 * n * n));
  return [(middle - half) / (1 + (z * z) / n), (middle + half) / (1 + (z * z) / n)];
}

/** Answer i of one against answer i of the other, prompt by prompt: wins / (wins + losses), ties beside it. */
export function compare(rule, tuned, base) {
  let wins = 0;
  let losses = 0;
  let ties = 0;
  tuned.forEach((row, i) => {
    row.candidates.forEach((c, k) => {
      const difference = rule.score(c.text) - rule.score(base[i].candidates[k].text);
      if (difference > 0) wins += 1;
      else if (difference < 0) losses += 1;
      else ties += 1;
    });
  });
  const decided = wins + losses;
  return { wins, losses, ties, win_rate: decided === 0 ? 0 : wins / decided, interval: wilson(wins, decided) };
}

const words = (text) => text.toLowerCase().match(/[\p{L}\p{N}']+/gu) ?? [];

/** Different pairs of words among all pairs of words. */
export function distinct2(texts) {
  const pairs = texts.flatMap((t) =>
    words(t)
      .slice(1)
      .map((w, i) => `${words(t)[i]} ${w}`),
  );
  return pairs.length === 0 ? 0 : new Set(pairs).size / pairs.length;
}

export const mean = (list) => list.reduce((a, b) => a + b, 0) / Math.max(1, list.length);

/** Of all answers to all prompts. */
export function shape(rule, rows) {
  const all = rows.flatMap((r) => r.candidates);
  return {
    holds: mean(all.map((c) => Number(rule.holds(c.text)))),
    tokens: mean(all.map((c) => c.token_ids.length)),
    cut: mean(all.map((c) => Number(c.finish_reason === 'length'))),
    distinct_2: distinct2(all.map((c) => c.text)),
  };
}
