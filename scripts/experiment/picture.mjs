// The win rates as a picture that is read in light and dark.

const COLOURS = { sft: '#8a8f98', dpo: '#2f6fde', ppo: '#b4632d', grpo: '#2f8f5b', kto: '#8a4fc0' };
const [LEFT, TOP, ROW, WIDTH] = [150, 46, 17, 720];

export function picture(found) {
  const x = (share) => LEFT + share * (WIDTH - LEFT - 30);
  const drawn = [];
  let y = TOP;
  for (const rule of found.rules) {
    drawn.push(`<text x="8" y="${y + 12}" font-weight="600">${rule.name}</text>`);
    for (const [name, m] of Object.entries(rule.methods)) {
      const [low, high] = m.interval;
      drawn.push(
        `<text x="${LEFT - 8}" y="${y + 12}" text-anchor="end">${name.toUpperCase()}</text>`,
        `<rect x="${x(0)}" y="${y + 3}" width="${(x(m.win_rate) - x(0)).toFixed(1)}" height="11" fill="${COLOURS[name]}"/>`,
        `<line x1="${x(low).toFixed(1)}" x2="${x(high).toFixed(1)}" y1="${y + 8.5}" y2="${y + 8.5}" stroke="#111" stroke-width="1.5"/>`,
      );
      y += ROW;
    }
    y += 12;
  }
  const marks = [0, 0.25, 0.5, 0.8, 0.9, 1].map(
    (share) =>
      `<line x1="${x(share)}" x2="${x(share)}" y1="${TOP - 6}" y2="${y - 8}" stroke="#999" stroke-dasharray="${share === 0.5 ? '0' : '2 3'}"/>` +
      `<text x="${x(share)}" y="${TOP - 12}" text-anchor="middle">${share}</text>`,
  );
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${y}" font-family="system-ui, sans-serif" font-size="11" role="img">`,
    '<title>Wins against the base model, of those comparisons that were decided, with 95 % intervals</title>',
    `<rect width="${WIDTH}" height="${y}" fill="#fff"/>`,
    `<text x="8" y="16" font-size="13">Wins against the base model, of those that were decided (95 %)</text>`,
    ...marks,
    ...drawn,
    '</svg>',
    '',
  ].join('\n');
}
