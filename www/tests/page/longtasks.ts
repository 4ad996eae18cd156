// Long tasks of a page, judged fairly. PerformanceObserver reports time on the clock, and on a busy machine any task can be
// interrupted for as long as one likes; the browser's trace knows how much of it the thread was really working.
import type { Browser, CDPSession, Page } from '@playwright/test';

/** A long task as the page's observer saw it, in milliseconds of the page's own clock. */
interface LongTask {
  start: number;
  ms: number;
}

/** Has the page note its long tasks, from its very beginning; `mark` gives a moment of its clock, and `since` the tasks begun after it. */
export async function observeLongTasks(page: Page): Promise<{ mark: () => Promise<number>; since: (moment: number) => Promise<number[]> }> {
  await page.addInitScript(() => {
    const long: LongTask[] = ((globalThis as { long?: LongTask[] }).long = []);
    new PerformanceObserver((list) =>
      list.getEntries().forEach((e) => long.push({ start: e.startTime, ms: Math.round(e.duration) })),
    ).observe({ type: 'longtask' });
  });
  return {
    mark: () => page.evaluate(() => performance.now()),
    // By their beginning: the observer hears of a task some time after it ended, so that counting what it has heard by then would not do.
    since: (moment) =>
      page.evaluate((from) => (globalThis as unknown as { long: LongTask[] }).long.filter((t) => t.start >= from).map((t) => t.ms), moment),
  };
}

interface TraceEvent {
  name: string;
  ph: string;
  pid: number;
  tid: number;
  dur?: number;
  tdur?: number;
  args?: { name?: string };
}

/** Traces the tasks of all renderer main threads; ending gives their milliseconds on the clock and of processor time. */
export async function traceTasks(browser: Browser): Promise<() => Promise<{ clock: number; processor: number }[]>> {
  const cdp: CDPSession = await browser.newBrowserCDPSession();
  await cdp.send('Tracing.start', {
    transferMode: 'ReturnAsStream',
    traceConfig: {
      recordMode: 'recordUntilFull',
      traceBufferSizeInKb: 400_000,
      includedCategories: ['toplevel'],
      excludedCategories: ['*'],
    },
  });
  return async () => {
    const complete = new Promise<string>((done) => cdp.once('Tracing.tracingComplete', (e) => done(e.stream!)));
    await cdp.send('Tracing.end');
    const handle = await complete;
    let text = '';
    for (let eof = false; !eof; ) {
      const part = await cdp.send('IO.read', { handle, size: 4 << 20 });
      text += part.base64Encoded ? Buffer.from(part.data, 'base64').toString() : part.data;
      eof = part.eof;
    }
    await cdp.detach();
    const { traceEvents } = JSON.parse(text) as { traceEvents: TraceEvent[] };
    const main = new Set(
      traceEvents.filter((e) => e.name === 'thread_name' && e.args?.name === 'CrRendererMain').map((e) => `${e.pid}:${e.tid}`),
    );
    return traceEvents
      .filter((e) => e.ph === 'X' && e.name.endsWith('RunTask') && main.has(`${e.pid}:${e.tid}`))
      .map((e) => ({ clock: (e.dur ?? 0) / 1000, processor: (e.tdur ?? e.dur ?? 0) / 1000 }));
  };
}

/** Milliseconds of `work` in a page on the machine whose 50 ms are meant: one of two cores of an AMD EPYC (2024), idle. */
const REFERENCE_MS = 7;

/** How many times as long as there a fixed piece of work takes here and now; at least 1, at most 4: a machine slower than that says nothing. */
export async function slowness(browser: Browser): Promise<number> {
  const page = await browser.newPage();
  const ms = await page.evaluate(() => {
    const work = () => {
      const rows = Array.from({ length: 6000 }, (_, k) => ({ prompt: `Question ${(k * 7919) % 6000}`, completion: `Answer ${k}`, at: k }));
      return (JSON.parse(JSON.stringify(rows)) as typeof rows).sort((a, b) => (a.prompt < b.prompt ? -1 : 1)).length;
    };
    const times = Array.from({ length: 15 }, () => {
      const begin = performance.now();
      work();
      return performance.now() - begin;
    });
    return times.sort((a, b) => a - b)[7]!;
  });
  await page.close();
  return Math.min(4, Math.max(1, ms / REFERENCE_MS));
}

/**
 * Tasks in which the main thread worked for more than 50 ms (more on a slower machine: see `slowness`), out of several tries the
 * best: what else runs on the machine slows down even the work of the thread itself (shared caches, shared cores). What `prepare`
 * does is not looked at: while a page is opened the browser starts a process and reads the document, in which no script has a say.
 */
export async function heavyTasks<T>(
  browser: Browser,
  prepare: () => Promise<T>,
  during: (prepared: T) => Promise<void>,
  tries = 1,
): Promise<string[]> {
  let least: string[] | null = null;
  for (let i = 0; i < tries && least?.length !== 0; i++) {
    const prepared = await prepare();
    const before = await slowness(browser);
    const tasks = await traceTasks(browser);
    await during(prepared);
    const all = await tasks();
    const limit = 50 * Math.max(before, await slowness(browser));
    if (all.length < 20) throw new Error(`only ${all.length} tasks in the trace`);
    const heavy = all.filter((t) => t.processor > limit).map((t) => `${t.processor.toFixed(0)} ms (limit ${limit.toFixed(0)})`);
    if (!least || heavy.length < least.length) least = heavy;
  }
  return least ?? [];
}
