/**
 * Holds the types in libs/intent-model: they are what the modules say, they take right data and refuse wrong, and a
 * module that changes breaks whoever used it. Must not write into the tree.
 */
import { treesOf } from '@kedge/yang-trees';
import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import ts from 'typescript';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';

import { schemaOf, typeFiles, typesOf, writeTypes } from '../src/index.js';

const ROOT = join(import.meta.dirname, '../../..');
const YANG = join(ROOT, 'yang');
const MODEL = join(ROOT, 'libs/intent-model/src');
const scratch = mkdtempSync(join(tmpdir(), 'kedge-types-'));
afterAll(() => {
  rmSync(scratch, { recursive: true });
});

/** A directory with the project's modules, some text of them changed. */
function changed(name: string, module: string, from: string, to: string): string {
  const directory = join(scratch, name);
  cpSync(YANG, directory, { recursive: true, filter: (path) => !path.includes('/examples') });
  const file = join(directory, `${module}.yang`);
  const text = readFileSync(file, 'utf8');
  expect(text.split(from).length, from).toBe(2);
  writeFileSync(file, text.replace(from, to));
  return directory;
}

/** Files of the tree, parsed once for all that is compiled here. */
const parsed = new Map<string, ts.SourceFile>();

/** What the compiler says of some files, as the gate asks it; files given as text take the place of those on disk. */
function typeErrors(roots: readonly string[], texts: ReadonlyMap<string, string> = new Map()): string[] {
  const { config } = ts.readConfigFile(join(ROOT, 'tsconfig.lint.json'), (path) => ts.sys.readFile(path));
  const { options } = ts.parseJsonConfigFileContent({ ...config, include: [], files: [] }, ts.sys, ROOT);
  const host = ts.createCompilerHost(options);
  const { readFile, fileExists } = host;
  host.readFile = (path) => texts.get(path) ?? readFile(path);
  host.fileExists = (path) => texts.has(path) || fileExists(path);
  host.getSourceFile = (path, target) => {
    const known = texts.has(path) ? undefined : parsed.get(path);
    const text = known === undefined ? host.readFile(path) : undefined;
    const file = text === undefined ? known : ts.createSourceFile(path, text, target);
    if (file !== undefined && !texts.has(path)) parsed.set(path, file);
    return file;
  };
  const program = ts.createProgram([...roots, ...texts.keys()], options, host);
  return ts.getPreEmitDiagnostics(program).map(({ file, start, messageText }) => {
    const line = file === undefined ? 0 : file.getLineAndCharacterOfPosition(start ?? 0).line + 1;
    const name = file === undefined ? '' : file.fileName.replace(`${ROOT}/`, '');
    return `${name}:${String(line)} ${ts.flattenDiagnosticMessageText(messageText, ' ')}`;
  });
}

/** The type of a whole document of each tree. */
const DOCUMENTS: Readonly<Record<string, string>> = {
  accords: 'accordsTree.AccordsTree',
  site: 'siteTree.SiteTree',
  device: 'deviceTree.DeviceTree',
  'device-state': 'deviceStateTree.DeviceStateTree',
  intent: 'intentTree.IntentTree',
  operations: 'operationsTree.OperationsTree',
};

/** A source file in which every example of a kind is a constant of its tree's type, and the example on each line. */
function source(kind: 'valid' | 'invalid'): { text: string; names: readonly string[] } {
  const lines = [
    `import type { ${Object.values(DOCUMENTS)
      .map((name) => name.split('.')[0])
      .join(', ')} } from '@kedge/intent-model';`,
  ];
  const names = [''];
  for (const [tree, type] of Object.entries(DOCUMENTS))
    for (const name of readdirSync(join(YANG, 'examples', kind, tree)).sort()) {
      const document: unknown = JSON.parse(readFileSync(join(YANG, 'examples', kind, tree, name), 'utf8'));
      lines.push(`export const x${String(lines.length)}: ${type} = ${JSON.stringify(document)};`);
      names.push(`${tree}/${name}`);
    }
  return { text: `${lines.join('\n')}\n`, names };
}

/** The example of types in the README of the model. */
const readme = /```ts\n([\s\S]*?)```/.exec(readFileSync(join(MODEL, '../README.md'), 'utf8'))?.[1] ?? '';

describe('the types of the trees', () => {
  const [valid, invalid] = [source('valid'), source('invalid')];
  let errors: string[] = [];
  const errorsIn = (name: string): string[] => errors.filter((error) => error.includes(`/test/${name}:`));
  beforeAll(() => {
    const texts: [string, string][] = [
      ['valid.ts', valid.text],
      ['invalid.ts', invalid.text],
      ['readme.ts', readme],
    ];
    errors = typeErrors(
      [],
      new Map(texts.map(([name, text]) => [join(ROOT, 'libs/yang-schema/test', name), text])),
    );
    // An error anywhere else would hide what is looked for.
    expect(errors.filter((error) => !error.startsWith('libs/yang-schema/test/'))).toEqual([]);
  });

  it('UN-2 are what the modules say: npm run yang:types would change nothing', async () => {
    const files = await typeFiles(YANG);
    const stale = [...files].filter(([name, text]) => readFileSync(join(MODEL, name), 'utf8') !== text);
    expect(stale.map(([name]) => name)).toEqual([]);
    const written = readdirSync(MODEL).filter((name) => /-tree\.ts$|^identities\.ts$/.test(name));
    expect(written.sort()).toEqual([...files.keys()].sort());
    expect(files.size).toBe(7);
  });

  it('UN-2 are written where they differ, and only there', async () => {
    const directory = mkdtempSync(join(scratch, 'model-'));
    expect((await writeTypes(YANG, directory)).length).toBe(7);
    expect(await writeTypes(YANG, directory)).toEqual([]);
    writeFileSync(join(directory, 'site-tree.ts'), 'export {};\n');
    expect(await writeTypes(YANG, directory)).toEqual(['site-tree.ts']);
  });

  it('UN-2 take every valid example', () => {
    expect(errorsIn('valid.ts')).toEqual([]);
    expect(valid.names.length - 1).toBe(38);
  });

  it(
    'UN-2 refuse examples with unknown nodes, state, other shapes, other JSON types and missing leaves',
    {
      timeout: 60_000,
    },
    () => {
      const { names } = invalid;
      const errors = errorsIn('invalid.ts');
      const refused = new Set(
        errors.map((error) => names[Number(/^[^:]*:(\d+)/.exec(error)?.[1] ?? 0) - 1] ?? error),
      );
      const visited: Record<string, number> = {};
      const missed: string[] = [];
      for (const tree of Object.keys(DOCUMENTS)) {
        const expected = JSON.parse(
          readFileSync(join(YANG, 'examples/expected', `${tree}.json`), 'utf8'),
        ) as Record<string, { kind: string }>;
        for (const [name, { kind }] of Object.entries(expected)) {
          const typed =
            ['unknown', 'state', 'shape', 'missing'].includes(kind) ||
            /is-text$|is-a-number$|-unknown$/.test(name);
          if (!typed || ['reference', 'twice'].includes(kind)) continue;
          visited[kind] = (visited[kind] ?? 0) + 1;
          if (!refused.has(`${tree}/${name}.json`)) missed.push(`${tree}/${name} (${kind})`);
        }
      }
      // What types cannot say: how many there are, choices, patterns, and what is mandatory under a condition.
      expect(missed).toEqual([
        'accords/authority-missing (missing)',
        'accords/gate-emergency-without-tier (missing)',
        'accords/gate-tiers-without-execute-tier (missing)',
        'accords/gate-tiers-without-propose-tier (missing)',
        'accords/level-missing (missing)',
        'accords/lockdown-exit-empty (missing)',
        'site/device-without-access (missing)',
        'device/tunnel-without-encapsulation (missing)',
        'operations/plan-target-unknown (value)',
      ]);
      expect(visited).toEqual({ missing: 49, shape: 3, state: 3, unknown: 7, value: 34 });
    },
  );

  it('UN-2 let whoever uses a module no longer compile when it changes', { timeout: 120_000 }, async () => {
    const errorsAfter = async (
      name: string,
      module: string,
      from: string,
      to: string,
      user = 'libs/intent-model/src/plan-data.ts',
    ): Promise<string[]> => {
      const files = await typeFiles(changed(name, module, from, to));
      return typeErrors(
        [join(ROOT, user)],
        new Map([...files].map(([file, text]) => [join(MODEL, file), text])),
      );
    };
    const step = '        leaf safe-point {';
    const epoch = '        type uint64 {\n          range "0..281474976710655";\n        }\n';
    const leaf = (more: string): string =>
      `        leaf weight {\n          type uint8;\n${more}          description "Its weight.";\n        }\n${step}`;
    expect(
      await errorsAfter('renamed', 'kedge-plan', 'leaf-list depends-on {', 'leaf-list prerequisite {'),
    ).toEqual([expect.stringMatching(/^libs\/intent-model\/src\/plan-data\.ts:\d+ .*depends-on/)]);
    expect(await errorsAfter('retyped', 'kedge-plan', epoch, '        type uint32;\n')).toEqual([
      expect.stringMatching(/^libs\/intent-model\/src\/plan-data\.ts:\d+ Type 'string' is not assignable/),
    ]);
    expect(await errorsAfter('mandatory', 'kedge-plan', step, leaf('          mandatory true;\n'))).toEqual([
      expect.stringMatching(/^libs\/intent-model\/src\/plan-data\.ts:\d+ .*weight/),
    ]);
    const accords = 'libs/posture/src/accords-yang.test.ts';
    expect(await errorsAfter('word', 'kedge-accords', 'enum deprioritise {', 'enum mark {', accords)).toEqual(
      [expect.stringMatching(/^libs\/posture\/src\/accords-yang\.test\.ts:\d+ .*deprioritise/)],
    );
    expect(await errorsAfter('optional', 'kedge-plan', step, leaf(''))).toEqual([]);
  });

  it('UN-2 let the example of the README compile', () => {
    expect(readme).toContain("from '@kedge/intent-model'");
    expect(errorsIn('readme.ts')).toEqual([]);
  });
});

const SAMPLE = `module kedge-sample {
  yang-version 1.1;
  namespace "urn:kedge:yang:kedge-sample";
  prefix sa;
  import ietf-interfaces { prefix if; }
  identity shape { description "A shape."; }
  identity round { base shape; description "Round."; }
  identity circle { base round; description "A circle."; }
  augment "/if:interfaces/if:interface" {
    description "More of an interface.";
    leaf more { type string; description "More."; }
  }
  container outer {
    description "What is around.";
    leaf name { type string; description "Name."; }
    container sample {
      description "All kinds of leaves.";
      leaf small { type uint32 { range "1..9"; } units "seconds"; default "3"; description "Small."; }
      leaf large { type int64; description "Large."; }
      leaf exact { type decimal64 { fraction-digits 2; } description "Exact."; }
      leaf flag { type empty; description "Flag."; }
      leaf sure { type boolean; mandatory true; description "Sure."; }
      leaf raw { type binary; description "Raw."; }
      leaf bits { type bits { bit one; bit two; } description "Bits."; }
      leaf shape { type identityref { base shape; } description "Shape."; }
      leaf either { type union { type uint8; type enumeration { enum all; enum none; } } description "Either."; }
      leaf-list names { type leafref { path "../../name"; } description "Names."; }
      leaf-list modes { type enumeration { enum on; enum off; } min-elements 1; description "Modes."; }
      anydata rest { description "Rest."; }
      leaf seen { type string; config false; description "Seen."; }
      choice way {
        mandatory true;
        description "One of two.";
        leaf walk { type uint8; description "Walk."; }
        container ride { presence "It rides."; description "Ride."; leaf by { type string; description "By."; } }
      }
      list item { key "name number"; description "Item."; leaf name { type string; description "Name."; }
        leaf number { type uint8; description "Number."; } }
    }
  }
}
`;

describe('a type', () => {
  const directory = join(scratch, 'sample');
  const sample = (text: string, more: object = {}): ReturnType<typeof treesOf> => {
    cpSync(YANG, directory, { recursive: true, filter: (path) => path === YANG });
    writeFileSync(join(directory, 'kedge-sample.yang'), text);
    const trees = {
      sample: { what: 'a sample', nodes: 'config', modules: ['ietf-interfaces', 'kedge-sample'], ...more },
    };
    writeFileSync(join(directory, 'trees.json'), JSON.stringify(trees));
    return treesOf(directory);
  };
  const sampleTypes = async (text: string): Promise<{ tree: string; identities: string }> => {
    const schemas = await Promise.all([...sample(text).values()].map(schemaOf));
    const { trees, identities } = typesOf(schemas);
    return { tree: trees.get('sample') ?? '', identities };
  };

  it('UN-2 of each kind is the one of RFC 7951', async () => {
    const { tree, identities } = await sampleTypes(SAMPLE);
    expect(tree).toContain("  /** More. */\n  readonly 'kedge-sample:more'?: string;");
    expect(tree).toContain('  readonly sample: OuterSample;');
    expect(tree).toContain("  readonly 'kedge-sample:outer': Outer;");
    expect(tree.slice(tree.indexOf('/** All kinds of leaves.'))).toBe(
      `/** All kinds of leaves. \`/outer/sample\` */
export interface OuterSample {
  /** Small. Range 1..9, in seconds, default 3. */
  readonly small?: number;
  /** Large. Int64 as text. */
  readonly large?: string;
  /** Exact. Decimal64 as text. */
  readonly exact?: string;
  /** Flag. */
  readonly flag?: readonly [null];
  /** Sure. */
  readonly sure: boolean;
  /** Raw. */
  readonly raw?: string;
  /** Bits. */
  readonly bits?: string;
  /** Shape. */
  readonly shape?: Shape;
  /** Either. */
  readonly either?: number | 'all' | 'none';
  /** Names. */
  readonly names?: readonly string[];
  /** Modes. */
  readonly modes: readonly ('on' | 'off')[];
  /** Rest. */
  readonly rest?: Readonly<Record<string, unknown>>;
  /** Walk. Uint8. */
  readonly walk?: number;
  readonly ride?: OuterSampleRide;
  /** Keyed by name and number. */
  readonly item?: readonly OuterSampleItem[];
}

/** Ride. \`/outer/sample/ride\` */
export interface OuterSampleRide {
  /** By. */
  readonly by?: string;
}

/** Item. \`/outer/sample/item\` */
export interface OuterSampleItem {
  /** Name. */
  readonly name: string;
  /** Number. Uint8. */
  readonly number: number;
}
`,
    );
    expect(identities).toContain("export type Shape = 'kedge-sample:circle' | 'kedge-sample:round';");
  });

  it('UN-2 is not written for modules that do not compile, trees that cannot be read, names that clash', async () => {
    await expect(sampleTypes(SAMPLE.replace('type int64;', 'type int65;'))).rejects.toMatchObject({
      code: 'SCHEMA_REFUSED',
      message: expect.stringContaining('int65'),
    });
    const clash = 'leaf small {';
    await expect(
      sampleTypes(
        SAMPLE.replace(
          clash,
          `container a-b { description "A."; container c { description "C."; } } container a { description "A."; container b-c { description "C."; } } ${clash}`,
        ),
      ),
    ).rejects.toMatchObject({ code: 'SCHEMA_NAMES', field: 'OuterSampleABC' });
    expect(() => sample(SAMPLE, { modules: ['kedge-nowhere'] })).toThrow(
      expect.objectContaining({ code: 'SCHEMA_TREES', message: expect.stringContaining('kedge-nowhere') }),
    );
    expect(() => sample(SAMPLE, { nodes: 'some' })).toThrow(
      expect.objectContaining({ code: 'SCHEMA_TREES' }),
    );
    vi.stubEnv('PATH', '/nonexistent');
    await expect(sampleTypes(SAMPLE)).rejects.toMatchObject({ code: 'SCHEMA_UNAVAILABLE' });
  });
});
