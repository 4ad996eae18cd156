/** Path of the Chrome or Chromium at hand (`CHROME` names another); throws where there is none. */
export function findChrome(): string;
/** A browser that makes no requests of its own, with WebGPU on SwiftShader, or on the GPU at hand. */
export function chromeArgs(o?: { software?: boolean }): string[];
