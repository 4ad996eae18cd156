// What a device reaches, measured without a model.
import { breathe } from '../breathe.ts';
import { readNote, writeNote } from '../cache.ts';
import { aborted } from '../errors.ts';
import type { Device, DeviceFigures } from '../types.ts';
import { engineFor, noteName } from './device.ts';
import { orAborted, type Room } from './room.ts';

/** Measures a device; between two figures it can be cancelled. */
export async function measureOn(
  room: Room,
  job: number,
  signal: AbortSignal,
  asked: Device | undefined,
  threads: number | undefined,
): Promise<DeviceFigures> {
  const { module, adapter, device } = await orAborted(engineFor(asked, threads), signal, 'measuring');
  const release = await room.jobs.acquire('measuring', { signal });
  try {
    const key = device === 'cpu' ? undefined : await module.tuning_key();
    const note = noteName('tuning', key, adapter);
    const bench = await module.DeviceBench.open(device, key === undefined ? undefined : await readNote(note));
    const found: Partial<DeviceFigures> = {};
    const tell = async (more: Partial<DeviceFigures>): Promise<void> => {
      await room.emit(job, { type: 'figure', figures: Object.assign(found, more) });
      if (signal.aborted) throw aborted('measuring');
      await breathe();
    };
    try {
      const on = bench.info();
      const measured = bench.tuning();
      if (key !== undefined && measured) await writeNote(note, measured);
      await tell({
        adapter: {
          ...on,
          ...(adapter && on.device !== 'cpu' ? { name: adapter.name, vendor: adapter.vendor, backend: adapter.backend } : {}),
        },
      });
      await tell({ matmulGflops: (await bench.matmul(512)) / 1e9 });
      const gpt = await module.GptBench.create(on.device ?? 'gpu');
      try {
        let best = Infinity;
        // The first step compiles.
        for (let i = 0; i < 4 && !signal.aborted; i++) {
          const begin = performance.now();
          await gpt.step();
          if (i > 0) best = Math.min(best, performance.now() - begin);
        }
        await tell({ gptStepMs: best });
      } finally {
        gpt.free();
      }
      await tell({ fmaGflops: (await bench.fma()) / 1e9 });
      await tell({ copyGBps: (await bench.copy()) / 1e9 });
      return found as DeviceFigures;
    } finally {
      bench.free();
    }
  } finally {
    release();
  }
}
