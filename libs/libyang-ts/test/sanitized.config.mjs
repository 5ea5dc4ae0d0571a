/**
 * How the tests of the front door run on the sanitized copy of the package: in one process, which preloads
 * AddressSanitizer. It must not change what the tests are.
 */
export default {
  test: {
    include: ['test/{context,data-tree,diff,lifetimes}.test.ts'],
    exclude: [],
    pool: 'threads',
    maxWorkers: 1,
    fileParallelism: false,
    testTimeout: 60_000,
  },
};
