/**
 * How the front door's tests run on the sanitized copy of the package: in one process, which preloads
 * AddressSanitizer. It must not change what the tests are.
 */
const conditions = ['source', 'module', 'node', 'development|production'];

export default {
  resolve: { conditions },
  ssr: { resolve: { conditions, externalConditions: ['node', 'import', 'default'] } },
  test: { include: ['src/*.test.ts'], exclude: [], pool: 'threads', maxWorkers: 1, testTimeout: 60_000 },
};
