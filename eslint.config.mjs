/**
 * What the linter holds: typed TypeScript, pure libraries without the outside world, native loading in two places.
 * Must not repeat the import law of .dependency-cruiser.mjs, nor what prettier decides.
 */
import js from '@eslint/js';
import { defineConfig } from 'eslint/config';
import tseslint from 'typescript-eslint';

export const PURE = [
  'units',
  'contracts',
  'posture',
  'reconcile',
  'posture-source-kit',
  'ipfix',
  'intent-model',
  'datastores',
  'driver-kit',
  'compiler',
  'drift',
  'rollout',
];

const tests = ['**/*.test.ts', '**/test/**'];
const outside =
  'a pure library has clocks, timers, randomness, the environment and input/output injected by its caller';
const globals = [
  ...['process', 'Buffer', 'global', 'globalThis', 'require', 'module', '__dirname', '__filename'],
  ...['setTimeout', 'setInterval', 'setImmediate', 'clearTimeout', 'clearInterval', 'clearImmediate'],
  ...['queueMicrotask', 'performance', 'crypto', 'fetch', 'WebSocket', 'EventSource', 'navigator', 'console'],
].map((name) => ({ name, message: outside }));
const properties = [
  { object: 'Date', property: 'now', message: outside },
  { object: 'Math', property: 'random', message: outside },
];
const syntax = [
  { selector: "NewExpression[callee.name='Date'][arguments.length=0]", message: outside },
  { selector: "CallExpression[callee.name='Date']", message: outside },
  { selector: 'MetaProperty', message: outside },
];
const frontDoor = {
  group: ['@kedge/*/*'],
  message: 'a package is entered by its front door: import it by its name alone',
};

export default defineConfig(
  {
    ignores: ['**/node_modules/**', '**/dist/**', '**/build/**', 'apps/*/bundle/**', '**/.cache/**'],
  },
  { linterOptions: { reportUnusedDisableDirectives: 'error' } },
  js.configs.recommended,
  {
    files: ['**/*.{js,mjs,cjs}'],
    languageOptions: {
      sourceType: 'module',
      globals: Object.fromEntries(
        [
          ...[
            'process',
            'console',
            'Buffer',
            'URL',
            'performance',
            'AbortSignal',
            'AbortController',
            'structuredClone',
          ],
          ...['setTimeout', 'clearTimeout', 'setInterval', 'clearInterval', 'setImmediate', 'queueMicrotask'],
          ...['TextDecoder', 'TextEncoder', 'SharedArrayBuffer', 'Atomics', 'WeakRef', 'globalThis'],
        ].map((name) => [name, 'readonly']),
      ),
    },
  },
  {
    files: ['**/*.ts'],
    extends: [tseslint.configs.recommendedTypeChecked],
    languageOptions: {
      parserOptions: {
        project: './tsconfig.lint.json',
        tsconfigRootDir: import.meta.dirname,
        emitDecoratorMetadata: true,
        experimentalDecorators: true,
      },
    },
    rules: {
      '@typescript-eslint/no-explicit-any': 'error',
      '@typescript-eslint/no-non-null-assertion': 'error',
      '@typescript-eslint/switch-exhaustiveness-check': [
        'error',
        { considerDefaultExhaustiveForUnions: true },
      ],
      '@typescript-eslint/no-unused-vars': ['error', { argsIgnorePattern: '^_', varsIgnorePattern: '^_' }],
      '@typescript-eslint/prefer-promise-reject-errors': 'error',
      '@typescript-eslint/no-deprecated': 'error',
      // A Nest module is a class that carries nothing but its decorator.
      '@typescript-eslint/no-extraneous-class': ['error', { allowWithDecorator: true }],
      // An implementation of an asynchronous contract may have nothing to wait for.
      '@typescript-eslint/require-await': 'off',
      // Numbers are what messages are made of.
      '@typescript-eslint/restrict-template-expressions': [
        'error',
        { allowNumber: true, allowBoolean: true },
      ],
      eqeqeq: ['error', 'always'],
      'no-restricted-imports': ['error', { patterns: [frontDoor] }],
    },
  },
  {
    // Machine code enters a process in four packages and nowhere else.
    files: ['{apps,libs,plugins,test}/**/*.ts'],
    ignores: [
      'libs/shared-memory-ipc/src/**',
      'libs/ledger-store/src/addon.ts',
      'libs/libyang-ts/src/addon.ts',
      'plugins/dataplane/src/**',
      ...tests,
    ],
    rules: {
      'no-restricted-properties': [
        'error',
        {
          object: 'process',
          property: 'dlopen',
          message: 'native code is loaded by shared-memory-ipc, dataplane, ledger-store and libyang-ts alone',
        },
      ],
      'no-restricted-imports': [
        'error',
        {
          patterns: [frontDoor],
          paths: ['module', 'node:module'].map((name) => ({
            name,
            importNames: ['createRequire'],
            message:
              'native code is loaded by shared-memory-ipc, dataplane, ledger-store and libyang-ts alone',
          })),
        },
      ],
    },
  },
  {
    files: ['{apps,libs,plugins}/*/src/**/*.ts'],
    ignores: ['apps/cli/**', ...tests],
    rules: { 'no-console': 'error' },
  },
  {
    files: PURE.map((name) => `libs/${name}/src/**/*.ts`),
    ignores: tests,
    rules: {
      'no-restricted-globals': ['error', ...globals],
      'no-restricted-properties': ['error', ...properties],
      'no-restricted-syntax': ['error', ...syntax],
    },
  },
  {
    // The ledger's proofs follow from bytes alone; only its spool touches the world.
    files: ['libs/ledger/src/**/*.ts'],
    ignores: ['libs/ledger/src/spool.ts', 'libs/ledger/src/spool-identity.ts', ...tests],
    rules: {
      'no-restricted-globals': ['error', ...globals.filter(({ name }) => name !== 'Buffer')],
      'no-restricted-properties': ['error', ...properties],
      'no-restricted-syntax': ['error', ...syntax],
      'no-restricted-imports': [
        'error',
        {
          patterns: [frontDoor],
          paths: ['crypto', 'node:crypto'].map((name) => ({
            name,
            importNames: ['randomBytes', 'randomFillSync', 'randomInt', 'randomUUID', 'webcrypto'],
            message: outside,
          })),
        },
      ],
    },
  },
  {
    // Failing on purpose, and looking at what should not be possible, is what tests do.
    files: tests.map((pattern) => (pattern.endsWith('.ts') ? pattern : `${pattern}/*.ts`)),
    rules: {
      '@typescript-eslint/no-unsafe-assignment': 'off',
      '@typescript-eslint/no-unsafe-member-access': 'off',
      '@typescript-eslint/no-unsafe-argument': 'off',
      '@typescript-eslint/no-unsafe-call': 'off',
      '@typescript-eslint/no-unsafe-return': 'off',
      '@typescript-eslint/unbound-method': 'off',
    },
  },
);
