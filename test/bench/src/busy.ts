/**
 * Preloaded into a service (`node --import …/busy.js main.js`) to keep its event loop busy and its heap
 * collecting for the busy runs. Must not touch anything of the service.
 */
const SLICE_MS = 2;
const KEPT = 20_000;

let litter: unknown[] = [];

/** Allocates for about two milliseconds; what was kept is dropped at once when it is too much. */
function churn(): void {
  const until = performance.now() + SLICE_MS;
  while (performance.now() < until) {
    litter.push({ text: String(performance.now()).repeat(8), list: new Array<number>(64).fill(1) });
    if (litter.length > KEPT) litter = [];
  }
  setImmediate(churn);
}

setImmediate(churn);
export {};
