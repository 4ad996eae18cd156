// A few lines in place of a test framework: named cases, one after another, all of them run.
let failed = 0;
let passed = 0;

export async function test(name, body) {
  const start = performance.now();
  try {
    await body();
    passed += 1;
    console.log(`ok    ${name}  (${((performance.now() - start) / 1000).toFixed(1)} s)`);
  } catch (e) {
    failed += 1;
    console.log(`FAIL  ${name}\n      ${e.stack ?? e}`);
  }
}

export function equal(found, expected, what) {
  const [f, e] = [JSON.stringify(found), JSON.stringify(expected)];
  if (f !== e) throw new Error(`${what}: expected ${e}, found ${f}`);
}

export function ok(condition, what) {
  if (!condition) throw new Error(what);
}

export function finish() {
  console.log(`\n${passed} passed, ${failed} failed`);
  return failed === 0 ? 0 : 1;
}
