/**
 * How the front door's tests run on the sanitized copy of the package: in one process, which preloads
 * AddressSanitizer. It must not change what the tests are.
 */
export default {
  test: { include: ['src/*.test.ts'], exclude: [], pool: 'threads', maxWorkers: 1, testTimeout: 30_000 },
};
