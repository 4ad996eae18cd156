// What this device reaches, without a model: for a page that wants to know before it chooses one.
import { Connection, tell } from './connection.ts';
import { take } from './options/check.ts';
import { MEASURE } from './options/tables.ts';
import type { DeviceFigures, MeasureOptions } from './types.ts';

/**
 * Measures a device in a few seconds (on a software adapter: half a minute): a copy, multiply-adds in registers, a 512³ f32 matmul, and
 * a step of training a GPT with 0.80 M parameters (8 × 128 tokens). It runs in a Worker of its own.
 */
export async function measureDevice(o: MeasureOptions = {}): Promise<DeviceFigures> {
  take('measureDevice()', o, MEASURE);
  const connection = await Connection.open(o);
  try {
    return await connection.job('measuring', (engine, job) => engine.measure(job, o.device, o.threads), {
      signal: o.signal,
      onEvent: (event) => event.type === 'figure' && tell('onFigure', o.onFigure, event.figures),
    });
  } finally {
    await connection.close();
  }
}
