/**
 * Holds the import law: every rule catches the violation planted for it, and the whole tree breaks none.
 * Must not take the checker's word for what it saw: the number of imports is counted a second way.
 */
import {
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, relative } from 'node:path';
import { cruise, type ICruiseResult } from 'dependency-cruiser';
import ts from 'typescript';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import law from '../../.dependency-cruiser.mjs';

const ROOT = join(import.meta.dirname, '../..');
const FOLDERS = ['apps', 'libs', 'plugins', 'test'];

interface Plant {
  /** File that gets the import, and the lines it gets. */
  readonly files: Readonly<Record<string, string>>;
}

const plant = (file: string, from: string): Plant => ({ files: { [file]: `import '${from}';\n` } });

/** One violation for each rule of the law. */
const PLANTS: Readonly<Record<string, Plant>> = {
  'pure-imports-no-node': plant('libs/units/src/planted.ts', 'node:fs'),
  'pure-imports-pure-only': plant('libs/posture/src/planted.ts', '@kedge/bus'),
  'ledger-touches-files-in-its-spool-only': plant('libs/ledger/src/planted.ts', 'node:fs'),
  'only-libs-bus-uses-its-dependency': plant('libs/authz/src/planted.ts', '@grpc/grpc-js'),
  'only-libs-ledger-uses-its-dependency': plant('libs/bus/src/planted.ts', 'canonicalize'),
  'only-libs-sqlite-uses-its-dependency': plant('libs/ledger/src/planted.ts', 'better-sqlite3'),
  'only-libs-runtime-uses-its-dependency': plant('apps/vpp-bridge/src/planted.ts', 'pino'),
  'only-apps-cli-uses-its-dependency': plant('test/lab/src/planted.ts', 'commander'),
  'cedar-behind-one-file': plant('libs/authz/src/planted.ts', '@cedar-policy/cedar-wasm'),
  'nest-in-apps-and-runtime-only': plant('libs/bus/src/planted.ts', '@nestjs/core'),
  'nest-at-the-door-of-an-app': plant('apps/vpp-bridge/src/planted.ts', '@nestjs/core'),
  'native-loading-in-four-packages-only': plant('libs/bus/src/planted.ts', 'node:module'),
  'the-verifier-stands-alone': plant('apps/ledger-verify/src/planted.ts', '@kedge/bus'),
  'nobody-imports-an-app': plant('apps/vpp-bridge/src/planted.ts', '@kedge/cli'),
  'libs-know-no-plugins': plant('libs/bus/src/planted.ts', '@kedge/dataplane'),
  'plugins-see-only-their-kit': plant('plugins/warden/src/planted.ts', '@kedge/bus'),
  'posture-sources-import-nothing': plant('plugins/sources/src/planted.ts', 'node:fs'),
  'drivers-are-data': plant('plugins/drivers/src/planted.ts', 'node:fs'),
  'shipped-code-knows-no-test': plant('libs/bus/src/planted.ts', '@kedge/lab'),
  'command-reaches-the-lab-only': plant('apps/cli/src/planted.ts', '../../../test/scenario.js'),
  'front-door-only': plant('libs/bus/src/planted.ts', '../../ledger/src/inner.js'),
  'front-door-only-from-outside': plant('test/planted.ts', '../libs/bus/src/inner.js'),
  'declared-imports-only': plant('libs/bus/src/planted.ts', 'undeclared'),
  'imports-resolve': plant('libs/bus/src/planted.ts', './nowhere.js'),
  'no-cycles': {
    files: {
      'libs/bus/src/planted.ts': "import './circle.js';\n",
      'libs/bus/src/circle.ts': "import './planted.js';\n",
    },
  },
};

const PACKAGES = [
  ...['units', 'contracts', 'posture', 'reconcile', 'shared-memory-ipc'].map((name) => `libs/${name}`),
  ...['bus', 'authz', 'ledger', 'runtime'].map((name) => `libs/${name}`),
  ...[
    'plugins/dataplane',
    'plugins/sources',
    'plugins/drivers',
    'plugins/warden',
    'apps/vpp-bridge',
    'apps/cli',
  ],
  ...['apps/ledger-verify', 'test/lab'],
];
const FOREIGN = [
  '@cedar-policy/cedar-wasm',
  '@grpc/grpc-js',
  '@nestjs/core',
  'better-sqlite3',
  'canonicalize',
  'commander',
  'pino',
  'prom-client',
  'undeclared',
  'zod',
];

/** A house of the same shape as the real one, with nothing in it. */
function emptyHouse(at: string): void {
  const write = (path: string, text: string): void => {
    mkdirSync(dirname(join(at, path)), { recursive: true });
    writeFileSync(join(at, path), text);
  };
  const nameOf = (path: string): string => `@kedge/${path.split('/')[1] ?? ''}`;
  const declared = [...PACKAGES.map(nameOf), ...FOREIGN.filter((name) => name !== 'undeclared')];
  const manifest = {
    type: 'module',
    dependencies: Object.fromEntries(declared.map((name) => [name, '1.0.0'])),
  };
  write('package.json', JSON.stringify({ name: 'house', ...manifest }));
  write('test/scenario.ts', 'export {};\n');
  for (const path of PACKAGES) {
    const exports = { '.': { source: './src/index.ts', default: './dist/index.js' } };
    write(
      `${path}/package.json`,
      JSON.stringify({ name: nameOf(path), version: '1.0.0', ...manifest, exports }),
    );
    write(`${path}/src/index.ts`, 'export {};\n');
    write(`${path}/src/inner.ts`, 'export {};\n');
    mkdirSync(join(at, 'node_modules/@kedge'), { recursive: true });
    symlinkSync(join(at, path), join(at, 'node_modules', nameOf(path)));
  }
  for (const name of FOREIGN) {
    write(
      `node_modules/${name}/package.json`,
      JSON.stringify({ name, version: '1.0.0', main: 'dist/index.js' }),
    );
    write(`node_modules/${name}/dist/index.js`, '');
  }
}

async function cruised(baseDir: string, more: object = {}): Promise<ICruiseResult> {
  const { forbidden, options } = law;
  const { enhancedResolveOptions, ...rest } = options;
  const { output } = await cruise(
    FOLDERS,
    { ...rest, ...more, baseDir, validate: true, ruleSet: { forbidden } } as Parameters<typeof cruise>[1],
    enhancedResolveOptions as Parameters<typeof cruise>[2],
  );
  if (typeof output === 'string') throw new Error('the cruise gave text instead of a result');
  return output;
}

const broken = (result: ICruiseResult): string[] => [
  ...new Set(result.summary.violations.map((violation) => violation.rule.name)),
];

describe('the import law', () => {
  let house = '';
  beforeAll(() => {
    house = mkdtempSync(join(tmpdir(), 'kedge-law-'));
    emptyHouse(house);
  });
  afterAll(() => rmSync(house, { recursive: true, force: true }));

  it('has a planted violation for each of its rules', () => {
    expect(Object.keys(PLANTS).sort()).toEqual(law.forbidden.map((rule) => rule.name).sort());
    expect(law.forbidden.length).toBeGreaterThanOrEqual(19);
  });

  it('finds nothing in an empty house', async () => {
    const result = await cruised(house);
    expect(broken(result)).toEqual([]);
    expect(result.summary.totalCruised).toBeGreaterThanOrEqual(2 * PACKAGES.length);
  });

  it.each(Object.keys(PLANTS))('%s fires, and no other rule', async (rule) => {
    const files = PLANTS[rule]?.files ?? {};
    for (const [path, text] of Object.entries(files)) writeFileSync(join(house, path), text);
    try {
      expect(broken(await cruised(house))).toEqual([rule]);
    } finally {
      for (const path of Object.keys(files)) rmSync(join(house, path));
    }
  });
});

describe('an adapter of several dependencies', () => {
  it('is the only user of each', async () => {
    const house = mkdtempSync(join(tmpdir(), 'kedge-law-'));
    try {
      emptyHouse(house);
      writeFileSync(join(house, 'apps/vpp-bridge/src/planted.ts'), "import 'prom-client';\n");
      expect(broken(await cruised(house))).toEqual(['only-libs-runtime-uses-its-dependency']);
    } finally {
      rmSync(house, { recursive: true, force: true });
    }
  });
});

describe('the tree under the law', () => {
  const files = FOLDERS.flatMap((folder) => typescriptUnder(join(ROOT, folder)));
  const imports = files.flatMap((file) => {
    const text = readFileSync(file, 'utf8');
    return ts.preProcessFile(text, true, true).importedFiles.map(({ fileName }) => ({ file, to: fileName }));
  });

  it('breaks no rule, and the checker saw every import that is there', async () => {
    const result = await cruised(ROOT);
    expect(result.summary.violations.map(({ rule, from, to }) => `${rule.name}: ${from} → ${to}`)).toEqual(
      [],
    );
    const seen = new Map(
      result.modules.map(({ source, dependencies }) => [
        source,
        new Set(dependencies.map(({ module }) => module.replace(/^node:/, ''))),
      ]),
    );
    // What a build writes is looked at by nobody; an addon is loaded from there.
    const unseen = imports
      .filter(({ to }) => !/^\.\.?\/(build|dist)\//.test(to))
      .filter(({ file, to }) => seen.get(relative(ROOT, file))?.has(to.replace(/^node:/, '')) !== true)
      .map(({ file, to }) => `${relative(ROOT, file)} → ${to}`);
    expect(unseen).toEqual([]);
    expect(result.summary.totalCruised).toBeGreaterThanOrEqual(files.length);
    expect(files.length).toBeGreaterThanOrEqual(100);
    expect(imports.length).toBeGreaterThanOrEqual(500);
  });

  it('sees nothing when what it should look at is excluded, and the count tells', async () => {
    const blind = await cruised(ROOT, { exclude: { path: '(^|/)(dist|build|bundle)/' } });
    expect(blind.summary.totalDependenciesCruised ?? 0).toBeLessThan(imports.length);
  });

  it('declares every package that its sources import, workspaces included', () => {
    const undeclared = imports
      .filter(({ file, to }) => !to.startsWith('.') && !to.startsWith('node:') && isShipped(file))
      .filter(({ file, to }) => !declaredFor(file).has(packageOf(to)))
      .map(({ file, to }) => `${relative(ROOT, file)} → ${to}`);
    expect(undeclared).toEqual([]);
  });

  it('references every workspace that a package depends on in its tsconfig.json, and the root references all', () => {
    const found = FOLDERS.flatMap((folder) =>
      readdirSync(join(ROOT, folder), { withFileTypes: true })
        .filter((entry) => entry.isDirectory())
        .map((entry) => join(folder, entry.name)),
    ).filter((path) => readdirSync(join(ROOT, path)).includes('tsconfig.json'));
    const root = references('.');
    expect(root.map((path) => relative(ROOT, path)).sort()).toEqual([...found].sort());
    let visited = 0;
    for (const path of found) {
      const { dependencies = {} } = manifest(join(ROOT, path));
      const needed = Object.keys(dependencies).filter((name) => name.startsWith('@kedge/'));
      const referenced = references(path).map((at) => manifest(at).name);
      for (const name of needed)
        expect(referenced, `${path}/tsconfig.json references ${name}`).toContain(name);
      visited += 1;
    }
    expect(visited).toBeGreaterThanOrEqual(15);
  });

  it('has a lock file that knows what every package.json asks for', () => {
    const { packages } = JSON.parse(readFileSync(join(ROOT, 'package-lock.json'), 'utf8')) as {
      packages: Record<string, Manifest>;
    };
    const own = Object.keys(packages).filter((path) => !path.includes('node_modules'));
    for (const path of own) {
      const { dependencies = {}, devDependencies = {} } = manifest(join(ROOT, path));
      const locked = packages[path] ?? {};
      expect({ dependencies: {}, devDependencies: {}, ...picked(locked) }, path).toEqual({
        dependencies,
        devDependencies,
      });
    }
    expect(own.length).toBeGreaterThanOrEqual(16);
  });

  it('builds every app that starts NestJS by a main of its own through nest-cli.json', () => {
    const { projects } = JSON.parse(readFileSync(join(ROOT, 'nest-cli.json'), 'utf8')) as {
      projects: Record<string, { root: string }>;
    };
    const nest = readdirSync(join(ROOT, 'apps')).filter(
      (app) =>
        '@nestjs/core' in (manifest(join(ROOT, 'apps', app)).dependencies ?? {}) &&
        readdirSync(join(ROOT, 'apps', app, 'src')).includes('main.ts'),
    );
    expect(nest.length).toBeGreaterThanOrEqual(5);
    expect(Object.keys(projects).sort()).toEqual(nest.sort());
    for (const [name, { root }] of Object.entries(projects)) expect(root).toBe(`apps/${name}`);
  });

  it('describes every package in one sentence', () => {
    const manifests = files
      .map((file) => nearest(file))
      .filter((path, at, all) => path !== ROOT && all.indexOf(path) === at);
    for (const path of manifests)
      expect(manifest(path).description ?? '', path).toMatch(/^[A-Z].{20,160}\.$/);
    expect(manifests.length).toBeGreaterThanOrEqual(15);
  });
});

interface Manifest {
  readonly name?: string;
  readonly description?: string;
  readonly dependencies?: Readonly<Record<string, string>>;
  readonly devDependencies?: Readonly<Record<string, string>>;
}

const picked = ({ dependencies, devDependencies }: Manifest): Manifest => ({
  ...(dependencies === undefined ? {} : { dependencies }),
  ...(devDependencies === undefined ? {} : { devDependencies }),
});

function manifest(directory: string): Manifest {
  return JSON.parse(readFileSync(join(directory, 'package.json'), 'utf8')) as Manifest;
}

function references(path: string): string[] {
  const text = readFileSync(join(ROOT, path, 'tsconfig.json'), 'utf8');
  const { references: list = [] } = JSON.parse(text) as { references?: { path: string }[] };
  return list.map((reference) => join(ROOT, path, reference.path));
}

/** The directory of the package.json that a file belongs to. */
function nearest(file: string): string {
  let at = dirname(file);
  while (!readdirSync(at).includes('package.json')) at = dirname(at);
  return at;
}

const packageOf = (specifier: string): string =>
  specifier
    .split('/')
    .slice(0, specifier.startsWith('@') ? 2 : 1)
    .join('/');

const isShipped = (file: string): boolean =>
  !file.endsWith('.test.ts') && nearest(file) !== ROOT && relative(nearest(file), file).startsWith('src/');

function declaredFor(file: string): Set<string> {
  const { name, dependencies = {} } = manifest(nearest(file));
  return new Set([...Object.keys(dependencies), ...(name === undefined ? [] : [name])]);
}

function typescriptUnder(directory: string): string[] {
  return readdirSync(directory, { withFileTypes: true }).flatMap((entry) => {
    const path = join(directory, entry.name);
    if (entry.isDirectory())
      return ['node_modules', 'dist', 'build'].includes(entry.name) ? [] : typescriptUnder(path);
    return entry.name.endsWith('.ts') ? [path] : [];
  });
}
