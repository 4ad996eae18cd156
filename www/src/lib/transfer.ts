// Teaches comlink to carry errors with their code (by default only message and stack survive).
import { transferHandlers, type TransferHandler } from 'comlink';
import { fromWire, toWire, type WireError } from './errors.ts';

interface Thrown {
  value: unknown;
}

const original = transferHandlers.get('throw') as TransferHandler<Thrown, unknown>;

transferHandlers.set('throw', {
  canHandle: (v): v is Thrown => original.canHandle(v),
  serialize: ({ value }) => [toWire(value), []],
  deserialize: (wire) => {
    throw fromWire(wire);
  },
} satisfies TransferHandler<Thrown, WireError>);
