/**
 * The import law: which file may import what (ARCHITECTURE.md says it in words).
 * Must not hold a rule for which test/law/import-law.test.ts plants no violation.
 */
const PURE =
  '^libs/(units|contracts|posture|reconcile|posture-source-kit|ipfix|intent-model|datastores|driver-kit|compiler|drift|rollout)/';
const TESTS = '(\\.test\\.ts$|/test/)';
const npm = (names) => `(^|/)node_modules/(${names})(/|$)`;
const NEST = npm('@nestjs|reflect-metadata|rxjs');
/** One dependency, one package that wraps it. */
const ADAPTERS = {
  'libs/bus': '@grpc|grpc-health-check',
  'libs/ledger': 'canonicalize',
  'libs/sqlite': 'better-sqlite3',
  'libs/runtime': 'pino|prom-client',
  'apps/cli': 'commander',
};

export default {
  forbidden: [
    {
      name: 'pure-imports-no-node',
      comment: 'A pure library imports no Node API.',
      severity: 'error',
      from: { path: PURE, pathNot: TESTS },
      to: { dependencyTypes: ['core'] },
    },
    {
      name: 'pure-imports-pure-only',
      comment: 'A pure library imports pure libraries and the schema language, nothing else.',
      severity: 'error',
      from: { path: PURE, pathNot: TESTS },
      to: {
        pathNot: [PURE, npm('zod'), NEST],
        dependencyTypesNot: ['core'],
        couldNotResolve: false,
      },
    },
    {
      name: 'ledger-touches-files-in-its-spool-only',
      comment: 'What the ledger proves follows from bytes alone; of Node it knows hashes and ciphers.',
      severity: 'error',
      from: {
        path: '^libs/ledger/src/',
        pathNot: ['^libs/ledger/src/(spool|spool-[a-z]+|frame)\\.ts$', TESTS],
      },
      to: { dependencyTypes: ['core'], pathNot: '^(node:)?crypto$' },
    },
    ...Object.entries(ADAPTERS).map(([owner, names]) => ({
      name: `only-${owner.replace('/', '-')}-uses-its-dependency`,
      comment: `${owner} is the only user of ${names}.`,
      severity: 'error',
      // The benches call the peers that they measure against.
      from: { pathNot: [`^${owner}/`, PURE, '^test/bench/'] },
      to: { path: npm(names) },
    })),
    {
      name: 'cedar-behind-one-file',
      comment: 'One file knows that policies are Cedar; everybody else asks the Authoriser.',
      severity: 'error',
      from: { pathNot: ['^libs/authz/src/cedar\\.ts$', PURE, '^test/bench/'] },
      to: { path: npm('@cedar-policy') },
    },
    {
      name: 'nest-in-apps-and-runtime-only',
      comment: 'Domain code runs without NestJS; it lives in apps and in libs/runtime.',
      severity: 'error',
      from: { pathNot: '^(apps|libs/runtime)/' },
      to: { path: NEST },
    },
    {
      name: 'nest-at-the-door-of-an-app',
      comment: 'In an app only main, its modules and controllers know NestJS; what they wire does not.',
      severity: 'error',
      from: { path: '^apps/', pathNot: ['^apps/[^/]+/src/(main|[^/]+\\.(module|controller))\\.ts$', TESTS] },
      to: { path: NEST },
    },
    {
      name: 'native-loading-in-four-packages-only',
      comment:
        'Machine code enters a process through shared-memory-ipc, dataplane, ledger-store and libyang-ts.',
      severity: 'error',
      from: {
        path: '^(apps|libs|plugins|test)/',
        pathNot: ['^libs/(shared-memory-ipc|ledger-store|libyang-ts)/', '^plugins/dataplane/', PURE, TESTS],
      },
      to: { path: '^(node:)?module$', dependencyTypes: ['core'] },
    },
    {
      name: 'the-verifier-stands-alone',
      comment:
        'Who verifies a ledger trusts its proofs and the contracts, and no other line of the appliance.',
      severity: 'error',
      from: { path: '^apps/ledger-verify/', pathNot: TESTS },
      to: {
        path: '^(apps|libs|plugins)/',
        pathNot: ['^apps/ledger-verify/', '^libs/(units|contracts|ledger)/'],
      },
    },
    {
      name: 'nobody-imports-an-app',
      comment: 'An app is a process: it is started, never imported.',
      severity: 'error',
      from: { path: '^([^/]+/[^/]+)/', pathNot: PURE },
      to: { path: '^apps/([^/]+)/', pathNot: '^$1/' },
    },
    {
      name: 'libs-know-no-plugins',
      comment: 'A library does not know who extends the product.',
      severity: 'error',
      from: { path: '^libs/', pathNot: PURE },
      to: { path: '^plugins/' },
    },
    {
      name: 'plugins-see-only-their-kit',
      comment: 'A plugin sees the kit that its kind is given, and no other plugin.',
      severity: 'error',
      from: { path: '^plugins/([^/]+)/', pathNot: ['^plugins/(sources|drivers)/', TESTS] },
      to: {
        path: '^(libs|plugins)/',
        pathNot: ['^plugins/$1/', '^libs/(units|contracts|reconcile|shared-memory-ipc)/'],
      },
    },
    {
      name: 'posture-sources-import-nothing',
      comment: 'A posture source is given its kit when it starts; it reaches the world through that alone.',
      severity: 'error',
      from: { path: '^plugins/sources/([^/]+)/', pathNot: TESTS },
      to: { pathNot: '^plugins/sources/$1/', couldNotResolve: false },
    },
    {
      name: 'drivers-are-data',
      comment:
        'A device back end sees its kit and the trees of intent; it reaches no device and no Node API.',
      severity: 'error',
      from: { path: '^plugins/drivers/', pathNot: TESTS },
      to: {
        pathNot: ['^plugins/drivers/', '^libs/(units|intent-model|driver-kit)/'],
        couldNotResolve: false,
      },
    },
    {
      name: 'shipped-code-knows-no-test',
      comment: 'Nothing that is shipped imports from test/; the command may start the lab.',
      severity: 'error',
      from: { path: '^(apps|libs|plugins)/', pathNot: ['^apps/cli/', PURE, TESTS] },
      to: { path: '^test/' },
    },
    {
      name: 'command-reaches-the-lab-only',
      comment: 'Of everything under test/ the command may import the lab.',
      severity: 'error',
      from: { path: '^apps/cli/', pathNot: TESTS },
      to: { path: '^test/', pathNot: '^test/lab/' },
    },
    {
      name: 'front-door-only',
      comment: 'A package is entered by its front door, src/index.ts.',
      severity: 'error',
      from: { path: '^((?:apps|libs|plugins)/[^/]+|test/(?:lab|bench|faults|soak))/' },
      to: {
        path: '^((libs|plugins)/[^/]+|test/(lab|bench|faults|soak))/',
        pathNot: ['^$1/', '^((libs|plugins)/[^/]+|test/(lab|bench|faults|soak))/src/index\\.ts$'],
      },
    },
    {
      name: 'front-door-only-from-outside',
      comment: 'Scenarios, benches and laws enter packages by their front doors too.',
      severity: 'error',
      from: { path: '^(test|firmware)/', pathNot: '^test/(lab|bench|faults|soak)/' },
      to: {
        path: '^((libs|plugins)/[^/]+|test/(lab|bench|faults|soak))/',
        pathNot: '^((libs|plugins)/[^/]+|test/(lab|bench|faults|soak))/src/index\\.ts$',
      },
    },
    {
      name: 'declared-imports-only',
      comment: "An import stands in the importing package's own package.json.",
      severity: 'error',
      from: {
        path: '^(apps|libs|plugins|test/(lab|bench|faults|soak))/',
        pathNot: '(\\.test\\.ts$|^(apps|libs|plugins)/[^/]+/test/)',
      },
      to: { dependencyTypes: ['npm-no-pkg', 'npm-unknown', 'npm-dev'] },
    },
    {
      name: 'imports-resolve',
      comment: 'An import that leads nowhere.',
      severity: 'error',
      from: {},
      to: { couldNotResolve: true },
    },
    {
      name: 'no-cycles',
      comment: 'Imports form no circle.',
      severity: 'error',
      from: {},
      to: { circular: true },
    },
  ],
  options: {
    doNotFollow: { path: '(^|/)node_modules/' },
    // Only what our own builds write: most foreign packages have their code in a folder of that name.
    exclude: { path: '^(apps|libs|plugins|test)/[^/]+/(dist|build|bundle)/' },
    tsPreCompilationDeps: true,
    combinedDependencies: false,
    detectProcessBuiltinModuleCalls: true,
    enhancedResolveOptions: {
      exportsFields: ['exports'],
      conditionNames: ['source', 'import', 'node', 'default'],
      extensions: ['.ts', '.mts', '.js', '.mjs', '.json'],
    },
  },
};
