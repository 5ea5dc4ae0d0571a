/**
 * Sweeps yang/examples: what is valid is taken, what is invalid is refused for the reason and at the place that
 * yang/examples/expected says. Must not skip a file, nor a tree.
 */
import { type Tree, treesOf } from '@kedge/yang-trees';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';

import { refusalOf, type RefusalKind } from '../src/index.js';

const EXAMPLES = join(import.meta.dirname, '../../../yang/examples');
const trees = [...treesOf(join(EXAMPLES, '..')).values()];
const filesOf = (kind: 'valid' | 'invalid', { name }: Tree): string[] =>
  readdirSync(join(EXAMPLES, kind, name)).sort();

interface Expected {
  readonly kind: RefusalKind;
  /** The node at fault, keys left out; of a choice that is missing, its name behind its parent. */
  readonly path: string;
}
const expectedOf = ({ name }: Tree): Readonly<Record<string, Expected>> =>
  JSON.parse(readFileSync(join(EXAMPLES, 'expected', `${name}.json`), 'utf8')) as Record<string, Expected>;

const steps = (path: string): string[] =>
  path
    .replace(/\[(?:[^\]'"]|'[^']*'|"[^"]*")*\]/g, '')
    .split('/')
    .filter((step) => step !== '');
const bare = (step: string | undefined): string => step?.replace(/^.*:/, '') ?? '';

/** Whether libyang's place is the expected node; see `Refusal.path` for how its versions write places. */
function isAt(found: string, expected: string, kind: RefusalKind): boolean {
  const [got, wanted] = [steps(found), steps(expected)];
  if (got.join('/') === wanted.join('/')) return true;
  const tail = wanted.slice(-got.length);
  if (kind === 'twice' && got.length >= 2)
    return got.every((step, index) => bare(step) === bare(tail[index]));
  if (kind !== 'missing' || got.at(-1) !== wanted.at(-1)) return false;
  // Choices and cases on the way.
  let at = 0;
  for (const step of got) if (step === wanted[at]) at += 1;
  return at === wanted.length;
}

/** Runs `work` over all items, four at a time. */
async function each<Item>(items: readonly Item[], work: (item: Item) => Promise<void>): Promise<void> {
  const queue = [...items];
  await Promise.all(
    Array.from({ length: 4 }, async () => {
      for (let item = queue.shift(); item !== undefined; item = queue.shift()) await work(item);
    }),
  );
}

describe('the examples of the trees', () => {
  it('UN-5 are there for every tree, and for nothing else', () => {
    const names = trees.map(({ name }) => name).sort();
    for (const kind of ['valid', 'invalid']) expect(readdirSync(join(EXAMPLES, kind)).sort()).toEqual(names);
    expect(readdirSync(join(EXAMPLES, 'expected')).sort()).toEqual(
      names.map((name) => `${name}.json`).sort(),
    );
    for (const tree of trees)
      expect(
        Object.keys(expectedOf(tree))
          .map((name) => `${name}.json`)
          .sort(),
      ).toEqual(filesOf('invalid', tree));
  });

  it('UN-5 that are valid are taken', async () => {
    const visited: Record<string, number> = {};
    for (const tree of trees) {
      visited[tree.name] = 0;
      await each(filesOf('valid', tree), async (name) => {
        expect([name, await refusalOf(tree, join(EXAMPLES, 'valid', tree.name, name))]).toEqual([
          name,
          undefined,
        ]);
        visited[tree.name] = (visited[tree.name] ?? 0) + 1;
      });
    }
    expect(visited).toEqual({ accords: 22, site: 6, device: 5, 'device-state': 1, intent: 2, operations: 2 });
  });

  it('UN-5 that are invalid are refused for the expected reason at the expected place', async () => {
    const visited: Record<string, number> = {};
    const kinds = new Set<string>();
    for (const tree of trees) {
      visited[tree.name] = 0;
      const expected = expectedOf(tree);
      await each(filesOf('invalid', tree), async (name) => {
        const refusal = await refusalOf(tree, join(EXAMPLES, 'invalid', tree.name, name));
        const { kind, path } = expected[name.replace(/\.json$/, '')] ?? { kind: 'rule', path: 'none' };
        expect([name, refusal?.kind]).toEqual([name, kind]);
        const at = refusal?.path ?? '';
        expect([name, at, isAt(at, path, kind)]).toEqual([name, at, true]);
        kinds.add(kind);
        visited[tree.name] = (visited[tree.name] ?? 0) + 1;
      });
    }
    expect(visited).toEqual({
      accords: 100,
      site: 51,
      device: 43,
      'device-state': 4,
      intent: 3,
      operations: 17,
    });
    // Every kind of refusal is shown by some example.
    expect(kinds.size).toBe(11);
  });

  it('UN-5 are what the page on intent shows, part by part', () => {
    const page = readFileSync(join(EXAMPLES, '../../docs/intent.md'), 'utf8');
    const shown = [
      ...page.matchAll(/\(\.\.\/yang\/examples\/(valid\/[^)]+\.json)\)[\s\S]*?```json\n([\s\S]*?)```/g),
    ];
    for (const [, file = '', text = ''] of shown)
      expect([
        file,
        isPart(JSON.parse(text), JSON.parse(readFileSync(join(EXAMPLES, file), 'utf8'))),
      ]).toEqual([file, true]);
    expect(shown.map(([, file]) => file)).toEqual([
      'valid/site/branch-office.json',
      'valid/device/access-switch.json',
    ]);
  });
});

/** Whether everything in `part` is in `whole` too; of a list, some entries. */
function isPart(part: unknown, whole: unknown): boolean {
  if (typeof part !== 'object' || part === null) return part === whole;
  if (typeof whole !== 'object' || whole === null) return false;
  if (Array.isArray(part))
    return Array.isArray(whole) && part.every((one) => whole.some((other) => isPart(one, other)));
  return Object.entries(part).every(([name, value]) =>
    isPart(value, (whole as Record<string, unknown>)[name]),
  );
}
