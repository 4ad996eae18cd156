// biome-ignore lint/correctness/noUnusedVariables: each project appends its own call
async function start({ Model, DPOTrainer }, device = 'auto', options = {}, source = '/model.gguf') {
  const seconds = {};
  try {
    let t = performance.now();
    const lap = () => {
      const s = (performance.now() - t) / 1000;
      t = performance.now();
      return s;
    };
    const messages = [{ role: 'user', content: 'What is the capital of France?' }];
    const model = await Model.load(source, { device, ...options, onProgress: (p) => (window.status = `${p.status} ${p.loaded}`) });
    seconds.load = lap();
    const wasm = [(await model.memory()).wasmBytes];
    // The tiny model knows single bytes only: enough of them, drawn, hold some that are a character by themselves.
    const tiny = model.info.parameters < 1e7;
    const stream = model.chat(messages, tiny ? { maxNewTokens: 24, temperature: 1, seed: 1 } : { maxNewTokens: 8 });
    const pieces = [];
    const times = [];
    for await (const piece of stream) {
      pieces.push(piece);
      times.push(performance.now());
    }
    const { text } = await stream.result;
    seconds.answer = lap();
    wasm.push((await model.memory()).wasmBytes);
    const steps = [];
    const trainer = new DPOTrainer(model, { learningRate: 1e-4, maxSteps: 1, peftConfig: { r: 8, loraAlpha: 16 } });
    const said = (content) => [{ role: 'assistant', content }];
    await trainer.train([{ prompt: messages, chosen: said('Paris.'), rejected: said('Rome.') }], { onStep: (m) => steps.push(m) });
    seconds.step = lap();
    const files = await model.saveAdapter();
    const { wasmBytes } = await model.memory();
    window.done = {
      pieces,
      times,
      text,
      steps: steps.length,
      loss: steps[0].loss,
      adapterBytes: files['adapter_model.safetensors'].length,
      wasmBytes,
      wasm: [...wasm, wasmBytes],
      wasmBytesBefore: 4 << 20,
      seconds,
      adapter: model.info.adapter.name,
      device: model.info.adapter.device,
      fileBytes: model.info.fileBytes,
    };
    await model.dispose();
  } catch (e) {
    window.done = { error: `${e.code}: ${e.message}` };
  }
}
