/**
 * Joins the requirement ids of docs/requirements.md with the tests whose titles start with them, and with
 * docs/owed.json: `npm run trace [-- --json]`; exit 6 when an id is neither tested nor said to be owed later.
 * Must not run a test: whether they pass is the test run's business, whether they can fail that of the mutants.
 */
import { readFileSync, readdirSync } from 'node:fs';
import { join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import ts from 'typescript';

const ROOT = join(import.meta.dirname, '../..');
const EXIT = { usage: 2, untested: 6 };
/** One or more ids at the very start of a title: `PO-7 …`, `PO-7, PO-22 …`, `PO-7 PO-22 …`. */
const IDS = /^[A-Z]{2}-\d+(?:,? [A-Z]{2}-\d+)*(?=[ :])/;

/** All requirement ids in their order, each with its line. */
export function requirements(root = ROOT) {
  const text = readFileSync(join(root, 'docs/requirements.md'), 'utf8');
  return [...text.matchAll(/^- ([A-Z]{2}-\d+) (.+)$/gm)].map(([, id, title]) => ({ id, title }));
}

export function owedList(root = ROOT) {
  return JSON.parse(readFileSync(join(root, 'docs/owed.json'), 'utf8')).owed;
}

function testFiles(directory) {
  return readdirSync(directory, { withFileTypes: true }).flatMap((entry) => {
    const path = join(directory, entry.name);
    if (entry.isDirectory())
      return /^(node_modules|dist|build|\..*)$/.test(entry.name) ? [] : testFiles(path);
    return entry.name.endsWith('.test.ts') ? [path] : [];
  });
}

/** The name that a callee starts with: `it` for it(…), it.each(…)(…), it.for(…)(…). */
function calleeRoot(node) {
  let at = node;
  while (!ts.isIdentifier(at)) {
    if (ts.isCallExpression(at) || ts.isPropertyAccessExpression(at)) at = at.expression;
    else if (ts.isTaggedTemplateExpression(at)) at = at.tag;
    else return undefined;
  }
  return at.text;
}

function titleOf(argument) {
  if (argument === undefined) return undefined;
  if (ts.isStringLiteralLike(argument)) return argument.text;
  return ts.isTemplateExpression(argument) ? argument.head.text : undefined;
}

/** The titles of all tests of one source text, as written. */
export function titlesIn(text, name = 'some.test.ts') {
  const titles = [];
  const visit = (node) => {
    if (ts.isCallExpression(node) && ['it', 'test'].includes(calleeRoot(node.expression))) {
      const title = titleOf(node.arguments[0]);
      if (title !== undefined) titles.push(title);
    }
    ts.forEachChild(node, visit);
  };
  visit(ts.createSourceFile(name, text, ts.ScriptTarget.Latest, true));
  return titles;
}

/** The ids that a title claims to prove. */
export function idsOf(title) {
  return IDS.exec(title)?.[0].split(/,? /) ?? [];
}

/** Every test that names an id: { file, title, ids }. */
export function namedTests(root = ROOT) {
  return ['apps', 'libs', 'plugins', 'test', 'firmware']
    .flatMap((folder) => testFiles(join(root, folder)))
    .flatMap((file) =>
      titlesIn(readFileSync(file, 'utf8'), file).map((title) => ({
        file: relative(root, file),
        title,
        ids: idsOf(title),
      })),
    )
    .filter((test) => test.ids.length > 0);
}

export function trace(root = ROOT) {
  const known = requirements(root);
  const tests = namedTests(root);
  const owed = owedList(root);
  const ids = known.map(({ id }) => ({
    id,
    tests: tests.filter((test) => test.ids.includes(id)).map((test) => `${test.file}: ${test.title}`),
  }));
  const later = new Set(owed.filter((item) => item.clause === undefined).map((item) => item.id));
  const untested = ids.filter(({ id, tests: of }) => of.length === 0 && !later.has(id)).map(({ id }) => id);
  const names = new Set(known.map(({ id }) => id));
  const unknown = [...tests.flatMap((test) => test.ids), ...owed.map((item) => item.id)]
    .filter((id) => !names.has(id))
    .filter((id, at, all) => all.indexOf(id) === at);
  return { ids, owed, untested, unknown };
}

function print({ ids, owed, untested, unknown }) {
  for (const { id, tests } of ids) {
    if (tests.length > 0) console.log(`${id}  ${tests.length} ${tests.length === 1 ? 'test' : 'tests'}`);
    for (const test of tests) console.log(`    ${test}`);
    for (const { clause, why } of owed.filter((item) => item.id === id && item.clause !== undefined)) {
      console.log(`    not yet owed: ${clause}: ${why}`);
    }
  }
  // What is owed later for one reason stands on one line.
  const whole = owed.filter((item) => item.clause === undefined);
  for (const why of new Set(whole.map((item) => item.why))) {
    const of = whole.filter((item) => item.why === why).map((item) => item.id);
    console.log(`not yet owed: ${of.join(' ')}: ${why}`);
  }
  for (const id of unknown) console.log(`${id}  is named but is no requirement`);
  for (const id of untested) console.log(`${id}  UNTESTED`);
  const tested = ids.filter(({ tests }) => tests.length > 0).length;
  console.log(`${tested} of ${ids.length} tested, ${untested.length} untested, ${unknown.length} unknown`);
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const args = process.argv.slice(2);
  if (args.some((arg) => arg !== '--json')) {
    console.error('usage: npm run trace [-- --json]');
    process.exit(EXIT.usage);
  }
  const result = trace();
  if (args.includes('--json')) console.log(JSON.stringify(result, undefined, 2));
  else print(result);
  if (result.untested.length > 0 || result.unknown.length > 0) process.exitCode = EXIT.untested;
}
