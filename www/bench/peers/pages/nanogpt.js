// @genai-fi/nanogpt (TensorFlow.js on WebGPU): its own GPT of the benchmark's shape, trained through its public interface.
import { data, TeachableLLM } from '@genai-fi/nanogpt';
import { GPT, row } from './gpt.js';

let model;
/** The same symbols as characters. */
const text = () =>
  Array.from({ length: 64 }, (_, r) =>
    row(r)
      .map((s) => String.fromCharCode(32 + s))
      .join(''),
  ).join('');

window.peer = {
  async load() {
    await TeachableLLM.selectBackend('webgpu');
    model = TeachableLLM.create('char', {
      modelType: 'GenAI_NanoGPT_v1',
      useRope: false,
      vocabSize: GPT.symbols + 4,
      blockSize: GPT.context,
      nLayer: GPT.layers,
      nHead: GPT.heads,
      nEmbed: GPT.width,
      mlpFactor: 4,
    });
    const stream = await data.loadTextData(new File([text()], 'rows.txt', { type: 'text/plain' }));
    await model.trainTokeniser([stream]);
    return { adapter: {}, parameters: model.getNumParams() };
  },
  async gpt({ steps }) {
    const stream = await data.loadTextData(new File([text()], 'rows.txt', { type: 'text/plain' }));
    const options = {
      method: { type: 'pretraining' },
      batchSize: GPT.batch,
      logInterval: 1,
      maxEpochs: 1000,
      learningRate: 1e-3,
      beta2: 0.999,
      weightDecay: 0.1,
    };
    const times = [];
    let loss;
    await new Promise((resolve, reject) => {
      let last;
      const on = (job) => {
        const now = performance.now();
        // The first step compiles.
        if (last !== undefined) times.push(now - last);
        last = now;
        loss = job.history.at(-1).trainingMetrics.loss;
        if (times.length === steps + 1) {
          model.training.off('progress', on);
          model.training.on('cancelled', resolve);
          model.training.cancel(job.id);
        }
      };
      model.training.on('progress', on);
      model.training.on('error', (_, e) => reject(e));
      model.training.job(options, [stream], [{ id: 'rows', name: 'rows' }]).catch(reject);
    });
    return { value: Math.min(...times.slice(1)), loss };
  },
  end: async () => model?.dispose(),
};
