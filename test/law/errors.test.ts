/**
 * Compares docs/errors.md with the sources both ways: every code is explained, and every explained code exists.
 * Must not know what a code means.
 */
import { readFileSync, readdirSync } from 'node:fs';
import { join, relative } from 'node:path';
import ts from 'typescript';
import { describe, expect, it } from 'vitest';

const ROOT = join(import.meta.dirname, '../..');
const CODE = /^[A-Z][A-Z0-9]*(_[A-Z0-9]+)+$/;

interface Row {
  readonly code: string;
  readonly exit: number;
  readonly meaning: string;
  readonly remedy: string;
}

const page = readFileSync(join(ROOT, 'docs/errors.md'), 'utf8');
const rows: Row[] = [...page.matchAll(/^\| `([A-Z0-9_]+)` \|([^|\n]*)\|([^|\n]*)\|([^|\n]*)\|$/gm)].map(
  ([, code = '', exit = '', meaning = '', remedy = '']) => ({
    code,
    exit: Number(exit.trim()),
    meaning: meaning.trim(),
    remedy: remedy.trim(),
  }),
);
const exits = [...page.matchAll(/^\| (\d) \|/gm)].map(([, exit]) => Number(exit));

function sources(directory: string, ending: RegExp): string[] {
  return readdirSync(directory, { withFileTypes: true }).flatMap((entry) => {
    const path = join(directory, entry.name);
    if (entry.isDirectory()) {
      return ['node_modules', 'dist', 'build', 'test'].includes(entry.name) ? [] : sources(path, ending);
    }
    return ending.test(entry.name) && !entry.name.endsWith('.test.ts') ? [path] : [];
  });
}

const shipped = ['apps', 'libs', 'plugins', 'test/lab'].map((folder) => join(ROOT, folder));

/** Every string literal that looks like a code, and whether it stands as the value of a field named `code`. */
function literals(path: string): { text: string; isCode: boolean }[] {
  const found: { text: string; isCode: boolean }[] = [];
  const visit = (node: ts.Node): void => {
    if (ts.isStringLiteralLike(node) && CODE.test(node.text)) {
      const { parent } = node;
      const isCode = ts.isPropertyAssignment(parent) && parent.name.getText() === 'code';
      found.push({ text: node.text, isCode });
    }
    ts.forEachChild(node, visit);
  };
  visit(ts.createSourceFile(path, readFileSync(path, 'utf8'), ts.ScriptTarget.Latest, true));
  return found;
}

function segmentCodes(): string[] {
  const header = readFileSync(join(ROOT, 'libs/shared-memory-ipc/include/kedge/layout.h'), 'utf8');
  return [...header.matchAll(/KEDGE_REFUSAL_([A-Z_]+) = \d+/g)]
    .map(([, name = '']) => `SEGMENT_${name}`)
    .filter((code) => code !== 'SEGMENT_NONE');
}

describe('docs/errors.md', () => {
  // The command's list of exit statuses repeats the codes without using them.
  const files = shipped
    .flatMap((directory) => sources(directory, /\.ts$/))
    .filter((path) => !path.endsWith('apps/cli/src/exit-status.ts'));
  const all = files.flatMap((path) =>
    literals(path).map((literal) => ({ ...literal, path: relative(ROOT, path) })),
  );
  const areaOf = (code: string): string => code.split('_')[0] ?? '';
  // An area is what the first word of a code in a `code` field or on the page says; any literal of it is a code.
  const areas = new Set([
    ...all.filter((literal) => literal.isCode).map((literal) => areaOf(literal.text)),
    ...rows.map((row) => areaOf(row.code)),
  ]);
  const native = shipped
    .flatMap((directory) => sources(directory, /\.(c|cc|cpp|h|hpp)$/))
    .flatMap((path) => [...readFileSync(path, 'utf8').matchAll(/"([A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+)"/g)])
    .map(([, text = '']) => text)
    .filter((text) => areas.has(areaOf(text)));
  const used = new Set([
    ...all.filter((literal) => areas.has(areaOf(literal.text))).map((literal) => literal.text),
    ...native,
    ...segmentCodes(),
  ]);

  it('explains every code that the sources use', () => {
    const explained = new Set(rows.map((row) => row.code));
    expect([...used].filter((code) => !explained.has(code)).sort()).toEqual([]);
    expect(used.size).toBeGreaterThanOrEqual(30);
  });

  it('explains no code that the sources do not use', () => {
    expect(rows.map((row) => row.code).filter((code) => !used.has(code))).toEqual([]);
    expect(rows.length).toBe(new Set(rows.map((row) => row.code)).size);
  });

  it('gives every code an exit status of the table, a meaning and a remedy', () => {
    expect(exits).toEqual([0, 1, 2, 3, 4, 5, 6, 7]);
    for (const row of rows) {
      expect(exits.slice(1), row.code).toContain(row.exit);
      expect(row.meaning.length, row.code).toBeGreaterThan(10);
      expect(row.remedy.length, row.code).toBeGreaterThan(5);
    }
    expect(rows.length).toBeGreaterThanOrEqual(30);
  });
});
