// From rankings to the rows of each method.

const best = (r) => r.answers[r.ranks.indexOf(1)];
const worst = (r) => r.answers[r.ranks.indexOf(Math.max(...r.ranks))];
const rankings = (all) => all;

/** Only the best and the worst answer of each ranking. */
export const extremes = (all) => all.map((r) => ({ prompt: r.prompt, chosen: best(r), rejected: worst(r) }));

/** By method: what a person who ranked `all` has to teach with. */
export const rowsOf = {
  dpo: rankings,
  cpo: rankings,
  orpo: rankings,
  reward: rankings,
  sft: (all) => all.map((r) => ({ prompt: r.prompt, completion: best(r) })),
  /** The upper half of the places is good. */
  kto: (all) =>
    all.flatMap((r) => r.answers.map((completion, i) => ({ prompt: r.prompt, completion, label: r.ranks[i] <= Math.max(...r.ranks) / 2 }))),
};
