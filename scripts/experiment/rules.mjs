// What a simulated rater wants. Each rule gives an answer a number, larger is better; equal numbers are a tie. The rater sees the text alone.
// `search`: the defaults may be searched on it; `reported`: it is in docs/experiment.md.

const sentences = (text) => text.split(/(?<=[.!?])\s+|\n+/u).filter((s) => /\p{L}/u.test(s));
const count = (text, pattern) => (text.match(pattern) ?? []).length;
const NUMBER = /\d+([.,]\d+)*|\b(one|two|three|four|five|six|seven|eight|nine|ten|hundred|thousand|million|billion)\b/giu;

export const RULES = [
  {
    name: 'asks-back',
    kind: 'style',
    search: true,
    reported: true,
    says: 'At most two sentences, the last one a question.',
    score: (text) => (text.trim().endsWith('?') ? 1 : 0) - Math.max(0, Math.min(sentences(text).length, 12) - 2) / 10,
    holds: (text) => text.trim().endsWith('?') && sentences(text).length <= 2,
  },
  {
    name: 'to-the-reader',
    kind: 'style',
    search: true,
    reported: true,
    says: 'Speaks to the reader: the more sentences say "you" or "your", the better.',
    score: (text) => {
      const all = sentences(text);
      return all.length === 0 ? 0 : all.filter((s) => /\byou(r|rs|rself)?\b/iu.test(s)).length / all.length;
    },
    holds: (text) => /\byou(r|rs|rself)?\b/iu.test(text),
  },
  {
    name: 'no-number',
    kind: 'content',
    search: false,
    reported: true,
    says: 'No number anywhere, in digits or words.',
    score: (text) => -Math.min(count(text, NUMBER), 8),
    holds: (text) => count(text, NUMBER) === 0,
  },
  {
    name: 'example',
    kind: 'content',
    search: false,
    reported: true,
    says: 'A concrete example in every answer: for example, for instance, such as, e.g.',
    score: (text) => Math.min(count(text, /\b(for example|for instance|such as|e\.g\.)/giu), 2),
    holds: (text) => count(text, /\b(for example|for instance|such as|e\.g\.)/giu) > 0,
  },
  {
    name: 'no-lists',
    kind: 'style',
    search: false,
    says: 'Whole sentences, no lists.',
    score: (text) => -Math.min(count(text, /^\s*([-*•]|\d+[.)])\s/gmu), 8),
    holds: (text) => count(text, /^\s*([-*•]|\d+[.)])\s/gmu) === 0,
  },
  {
    name: 'reasons',
    kind: 'content',
    search: false,
    says: 'Gives reasons: because, since, so that, therefore.',
    score: (text) => Math.min(count(text, /\b(because|since|so that|therefore|as a result)\b/giu), 3),
    holds: (text) => count(text, /\b(because|since|so that|therefore|as a result)\b/giu) > 0,
  },
];

/** 1 for the best, equal scores tied. */
export function ranks(scores) {
  const order = [...new Set(scores)].sort((a, b) => b - a);
  return scores.map((s) => order.indexOf(s) + 1);
}
