// The Worker: the engine, behind comlink.
import { expose } from 'comlink';
import nodeEndpoint, { type NodePort } from 'comlink/dist/esm/node-adapter.mjs';
import { Engine } from './engine.ts';
import './glue.ts';
import { isNode, ofNode } from './places.ts';
import './transfer.ts';

const engine = new Engine();
// Workers of node:worker_threads speak through a port, those of browsers through their global scope.
if (isNode && typeof globalThis.postMessage !== 'function') {
  void ofNode<{ parentPort: NodePort | null }>('node:worker_threads').then(
    ({ parentPort }) => parentPort && expose(engine, nodeEndpoint(parentPort)),
  );
} else {
  expose(engine);
}
