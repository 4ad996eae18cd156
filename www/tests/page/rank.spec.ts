import { ask, chip, expect, go, loadModel, open, orderText, test } from './helpers.ts';

test.beforeEach(async ({ page }) => {
  await open(page);
  await loadModel(page);
});

test('n answers stream side by side', async ({ page }) => {
  for (const n of [2, 6]) {
    await page.getByRole('radio', { name: `${n} answers` }).check({ force: true });
    await ask(page, `How do birds fly? (${n})`);
    const cards = page.locator('.turn').last().locator('.answer');
    await expect(cards).toHaveCount(n);
    const boxes = await cards.evaluateAll((all) => all.map((c) => c.getBoundingClientRect().top));
    expect(boxes[0]).toBe(boxes[1]);
    for (const card of await cards.all()) await expect(card.locator('.text')).not.toBeEmpty();
  }
});

test('pieces appear while the answers are being written, and stopping keeps them', async ({ page }) => {
  await open(page, '', { pieceMs: 250 });
  await loadModel(page);
  await page.getByRole('textbox', { name: 'Your question' }).fill('Slowly, please');
  await page.keyboard.press('Enter');
  await expect(page.locator('.answer').first().locator('.text')).toContainText('you asked');
  await expect(page.locator('.answer[aria-busy="true"]')).toHaveCount(3);
  await page.getByRole('button', { name: 'Stop answering' }).click();
  await expect(page.getByText('stopped').first()).toBeVisible();
  await expect(page.locator('.answer').first().locator('.text')).toContainText('you asked');
});

test('ranking by keyboard', async ({ page }) => {
  await ask(page, 'Rank me');
  await expect(page.locator('.verdict')).toHaveText('Which is best?');
  await chip(page, 3).focus();
  await page.keyboard.press('Home');
  expect(await orderText(page)).toBe('3 > 1 · 2');
  await expect(chip(page, 3)).toBeFocused();
  await chip(page, 2).focus();
  await page.keyboard.press('ArrowLeft');
  expect(await orderText(page)).toBe('3 > 2 > 1');
  await expect(chip(page, 2)).toBeFocused();
  await page.keyboard.press('=');
  expect(await orderText(page)).toBe('2 = 3 > 1');
  await expect(page.getByRole('log')).toHaveText('Order: answers 2 and 3 tied, then answer 1 without a place of its own');
  await expect(page.locator('.verdict')).toHaveText('2 pairs for DPO');
  await chip(page, 3).focus();
  await page.keyboard.press('Delete');
  expect(await orderText(page)).toBe('2 > 1 · 3');
});

test('number keys on an answer set its place', async ({ page }) => {
  await ask(page, 'Rank me');
  await page.getByRole('article', { name: 'Answer 2' }).focus();
  await page.keyboard.press('1');
  expect(await orderText(page)).toBe('2 > 1 · 3');
  await page.keyboard.press('Delete');
  await expect(page.locator('.verdict')).toHaveText('Which is best?');
});

test('one bad answer never becomes the best: what has no place is not last', async ({ page }) => {
  await ask(page, 'Which is bad?');
  const rows = page.locator('tbody tr');
  const feedback = async (): Promise<number> => {
    await go(page, 'Feedback');
    const n = await rows.count();
    await go(page, 'Chat');
    return n;
  };
  const answer = page.getByRole('article', { name: 'Answer 3' });
  // Rated poor, alone: nothing is known of the others, nothing is saved.
  await page.getByRole('group', { name: 'helpful – answer 3' }).getByRole('radio').first().check({ force: true });
  expect(await orderText(page)).toBe('3 not placed 1 2');
  await expect(page.locator('.verdict')).toHaveText('Rate one more to compare');
  await expect(page.locator('.unplaced')).toHaveText('① ② have no place yet and are in no pair.');
  await expect(page.locator('.answer.best')).toHaveCount(0);
  expect(await feedback()).toBe(0);
  await page.getByRole('group', { name: 'helpful – answer 1' }).getByRole('radio').nth(3).check({ force: true });
  expect(await orderText(page)).toBe('1 > 3 not placed 2');
  await expect(page.locator('.verdict')).toHaveText('1 pair for DPO');
  await go(page, 'Feedback');
  await expect(page.getByRole('cell', { name: '① > ③, ② not placed' })).toBeVisible();
  await go(page, 'Chat');
  // Placed second, alone: which one is better?
  for (const a of [1, 3]) {
    await page
      .getByRole('group', { name: `helpful – answer ${a}` })
      .getByRole('radio', { checked: true })
      .focus();
    await page.keyboard.press('Delete');
  }
  await answer.focus();
  await page.keyboard.press('2');
  await expect(page.locator('.verdict')).toHaveText('Place one more to compare');
  expect(await feedback()).toBe(0);
  // Placed third of three: both others are better.
  await answer.focus();
  await page.keyboard.press('3');
  expect(await orderText(page)).toBe('1 · 2 > 3');
  await expect(page.locator('.unplaced')).toHaveText('① ② have no place of their own: they count as better, not against each other.');
  await expect(page.locator('.verdict')).toHaveText('2 pairs for DPO');
  await expect(answer).toContainText('3rd');
  // A click on the place takes it back.
  await page.getByRole('group', { name: 'place of answer 3' }).getByRole('radio', { name: '3rd place' }).click({ force: true });
  await expect(page.locator('.verdict')).toHaveText('Which is best?');
  expect(await feedback()).toBe(0);
});

test('ranking by drag: between two, and onto one for a tie', async ({ page }) => {
  await ask(page, 'Rank me');
  const drag = async (from: number, to: number, at: number): Promise<void> => {
    const a = (await chip(page, from).boundingBox())!;
    const b = (await chip(page, to).boundingBox())!;
    await page.mouse.move(a.x + a.width / 2, a.y + a.height / 2);
    await page.mouse.down();
    await page.mouse.move(b.x + b.width * 0.5, b.y + b.height / 2, { steps: 6 });
    await page.mouse.move(b.x + b.width * at, b.y + b.height / 2, { steps: 3 });
    await page.mouse.up();
  };
  await drag(3, 1, 0.02);
  expect(await orderText(page)).toBe('3 > 1 · 2');
  await drag(2, 3, 1.1);
  expect(await orderText(page)).toBe('3 > 2 > 1');
  await drag(1, 2, 0.5);
  expect(await orderText(page)).toBe('3 > 1 = 2');
});

test('ranking by click: places on the cards, signs in the order', async ({ page }) => {
  await ask(page, 'Rank me');
  const place = (answer: number, to: string) =>
    page
      .getByRole('group', { name: `place of answer ${answer}` })
      .getByRole('radio', { name: to })
      .check({ force: true });
  await place(2, '1st place');
  await place(1, '2nd place');
  expect(await orderText(page)).toBe('2 > 1 > 3');
  await page.getByRole('button', { name: 'Answer 2 is better than answer 1. Make them equal' }).click();
  expect(await orderText(page)).toBe('1 = 2 > 3');
  await page.getByRole('button', { name: 'Answer 1 equals answer 2. Make answer 1 better' }).click();
  expect(await orderText(page)).toBe('1 > 2 > 3');
  await expect(page.locator('.verdict')).toHaveText('3 pairs for DPO');
});

test('criteria and their weights make the order, until a hand does', async ({ page }) => {
  await ask(page, 'Judge me');
  const rate = (criterion: string, answer: number, stars: number) =>
    page
      .getByRole('group', { name: `${criterion} – answer ${answer}` })
      .getByRole('radio')
      .nth(stars - 1)
      .check({ force: true });
  await rate('helpful', 1, 5);
  await rate('harmless', 1, 1);
  await rate('helpful', 2, 1);
  await rate('harmless', 2, 5);
  expect(await orderText(page)).toBe('1 = 2 not placed 3');
  await page.getByText('Weights', { exact: true }).click();
  await page.getByRole('slider', { name: 'harmless' }).fill('9');
  expect(await orderText(page)).toBe('2 > 1 not placed 3');
  // A hand-made order stays, whatever the weights say, until it is given up.
  await chip(page, 3).focus();
  await page.keyboard.press('Home');
  await page.getByRole('slider', { name: 'helpful' }).fill('10');
  await page.getByRole('slider', { name: 'harmless' }).fill('0');
  expect(await orderText(page)).toBe('3 > 2 > 1');
  await page.getByRole('button', { name: 'Order by criteria again' }).click();
  expect(await orderText(page)).toBe('1 > 2 not placed 3');
  // Taking every rating back takes the row back as well.
  for (const [c, a] of [
    ['helpful', 1],
    ['harmless', 1],
    ['helpful', 2],
    ['harmless', 2],
  ] as const) {
    await page
      .getByRole('group', { name: `${c} – answer ${a}` })
      .getByRole('radio', { checked: true })
      .focus();
    await page.keyboard.press('Delete');
  }
  await expect(page.locator('.verdict')).toHaveText('Which is best?');
  await go(page, 'Feedback');
  await expect(page.getByText('No feedback yet')).toBeVisible();
});

test('the order that was seen is the row that trains', async ({ page }) => {
  await page.getByRole('radio', { name: '4 answers' }).check({ force: true });
  await ask(page, 'Which?');
  for (const [answer, key] of [
    [3, '1'],
    [4, '2'],
    [2, '3'],
    [1, '3'],
  ] as const) {
    await page.getByRole('article', { name: `Answer ${answer}` }).focus();
    await page.keyboard.press(key);
  }
  await go(page, 'Feedback');
  await expect(page.getByRole('cell', { name: '③ > ④ > ① = ②' })).toBeVisible();
  await expect(page.getByRole('cell', { name: '5', exact: true })).toBeVisible();
});

test('the chat goes on with the best answer, or with the one picked', async ({ page }) => {
  await ask(page, 'First');
  await page.getByRole('article', { name: 'Answer 2' }).focus();
  await page.keyboard.press('1');
  await expect(page.getByRole('article', { name: 'Answer 2' })).toContainText('continues');
  await page.getByRole('button', { name: 'Continue the chat with answer 3' }).click();
  await expect(page.getByRole('article', { name: 'Answer 3' })).toContainText('continues');
  await ask(page, 'Second');
  await expect(page.locator('.turn').first()).toContainText('Well, you asked “First”');
  await page.getByRole('button', { name: 'Show all 3 answers' }).click();
  await expect(page.locator('.turn').first().locator('.answer')).toHaveCount(3);
});

test('new weights reorder every chat that follows the criteria', async ({ page }) => {
  const rate = (criterion: string, answer: number, stars: number) =>
    page
      .locator('.turn')
      .last()
      .getByRole('group', { name: `${criterion} – answer ${answer}` })
      .getByRole('radio')
      .nth(stars - 1)
      .check({ force: true });
  for (const question of ['First chat', 'Second chat']) {
    await page.getByRole('button', { name: 'New chat' }).first().click();
    await ask(page, question);
    await rate('helpful', 1, 5);
    await rate('helpful', 2, 4);
    await rate('harmless', 1, 2);
    await rate('harmless', 2, 4);
    expect(await orderText(page)).toBe('2 > 1 not placed 3');
  }
  await go(page, 'Settings');
  await page.getByRole('slider', { name: 'harmless' }).fill('0');
  await go(page, 'Feedback');
  await expect(page.getByRole('cell', { name: '① > ②, ③ not placed' })).toHaveCount(2);
  await go(page, 'Chat');
  await page.getByRole('region', { name: 'Chats' }).getByRole('button', { name: 'First chat', exact: true }).click();
  expect(await orderText(page)).toBe('1 > 2 not placed 3');
});
