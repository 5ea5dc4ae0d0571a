/**
 * How the tests of the whole repository run: every @kedge package from its TypeScript source.
 * Must not hold anything that a single package needs; such things belong into its tests.
 */
import { defineConfig } from 'vitest/config';

const conditions = ['source', 'module', 'node', 'development|production'];
const shared = {
  environment: 'node' as const,
  pool: 'forks' as const,
  exclude: ['**/node_modules/**', '**/dist/**', '**/build/**'],
  testTimeout: 30_000,
  hookTimeout: 60_000,
  teardownTimeout: 20_000,
  unstubEnvs: true,
  restoreMocks: true,
};

export default defineConfig({
  // Workspaces are entered by the `source` condition of their `exports`; child processes use `dist`.
  resolve: { conditions },
  ssr: { resolve: { conditions, externalConditions: ['node', 'import', 'default'] } },
  oxc: { decorator: { legacy: true, emitDecoratorMetadata: true } },
  test: {
    // Two groups, one after the other: what stays inside one package may share the machine; what crosses
    // processes (namespaces, real-time threads, fixed ports) has it alone, file by file.
    projects: [
      {
        extends: true,
        test: {
          ...shared,
          name: 'parts',
          include: ['{apps,libs,plugins}/*/{src,test}/**/*.test.ts', 'test/law/**/*.test.ts'],
          maxWorkers: 2,
          sequence: { groupOrder: 0 },
        },
      },
      {
        extends: true,
        test: {
          ...shared,
          name: 'whole',
          include: ['test/**/*.test.ts', 'firmware/**/*.test.ts'],
          exclude: [...shared.exclude, 'test/law/**'],
          testTimeout: 120_000,
          maxWorkers: 1,
          sequence: { groupOrder: 1 },
        },
      },
    ],
  },
});
