/**
 * Asks yanglint, libyang's command: what modules compile to, and whether data are right by them.
 * It must not judge by itself; what yanglint did not say is not known here.
 */
import { spawn } from 'node:child_process';

import { KedgeError } from '@kedge/units';
import type { Tree } from '@kedge/yang-trees';

/**
 * What kind of thing is wrong: a value out of its type, a leafref to nothing, something that has to be there, more
 * than there may be, the same twice, a node whose `when` does not hold, two cases of a choice, a `must`, state within
 * intent, a node of no module, an object where an array belongs.
 */
export type RefusalKind =
  | 'value'
  | 'reference'
  | 'missing'
  | 'too-many'
  | 'twice'
  | 'condition'
  | 'cases'
  | 'rule'
  | 'state'
  | 'unknown'
  | 'shape';

/** What yanglint found wrong first. */
export interface Refusal {
  readonly kind: RefusalKind;
  /** libyang's sentence. */
  readonly message: string;
  /**
   * The place as libyang writes it; of something that is missing, where it should be. Of what is there twice it may
   * begin in the middle, and of what is missing libyang 2 names the choices on the way and no keys. Empty where it
   * names none.
   */
  readonly path: string;
}

interface Answer {
  readonly status: number;
  readonly output: string;
  readonly complaint: string;
}

function yanglint(args: readonly string[]): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const child = spawn('yanglint', args, { stdio: ['ignore', 'pipe', 'pipe'] });
    let [output, complaint] = ['', ''];
    child.stdout.setEncoding('utf8').on('data', (text: string) => (output += text));
    child.stderr.setEncoding('utf8').on('data', (text: string) => (complaint += text));
    child.on('error', (cause) => {
      reject(
        new KedgeError({
          code: 'SCHEMA_UNAVAILABLE',
          message: 'cannot run yanglint',
          help: 'install libyang2-tools (Debian 12) or libyang3-tools (Debian 13)',
          cause,
        }),
      );
    });
    child.on('close', (status) => {
      resolve({ status: status ?? 128, output, complaint });
    });
  });
}

function loading(tree: Tree): string[] {
  // Imports are looked for in these directories alone, not in the one that this runs in.
  return ['-D', ...tree.path.flatMap((directory) => ['-p', directory])];
}

/**
 * What the modules of a tree compile to.
 *
 * @param format `info` (statements with everything expanded) or `tree` (a line for each node)
 * @throws KedgeError `SCHEMA_REFUSED` when yanglint does not take the modules, `SCHEMA_UNAVAILABLE`
 */
export async function compiled(tree: Tree, format: 'info' | 'tree'): Promise<string> {
  const files = [...tree.modules.map(({ file }) => file), ...tree.bases];
  const { status, output, complaint } = await yanglint([...loading(tree), '-f', format, ...files]);
  if (status !== 0 || complaint !== '')
    throw new KedgeError({
      code: 'SCHEMA_REFUSED',
      message: `cannot compile the modules of the tree ${tree.name}: ${complaint.trim()}`,
      field: tree.name,
    });
  return output;
}

/**
 * Whether a JSON document is right by a tree.
 *
 * @returns undefined when it is, otherwise what is wrong first
 * @throws KedgeError `SCHEMA_UNAVAILABLE`
 */
export async function refusalOf(tree: Tree, file: string): Promise<Refusal | undefined> {
  const { status, complaint } = await yanglint([
    ...loading(tree),
    ...['-t', tree.nodes === 'config' ? 'config' : 'data'],
    ...tree.modules.map((module) => module.file),
    file,
  ]);
  // libyang 3 may fall over after it refused something; what it said by then counts.
  const [, first] = /^libyang err\s*: (.*)$/m.exec(complaint) ?? [];
  if (status === 0 && first === undefined) return undefined;
  if (first === undefined)
    throw new KedgeError({
      code: 'SCHEMA_REFUSED',
      message: `cannot validate ${file} by the tree ${tree.name}: ${complaint.trim()}`,
      field: file,
    });
  const [, absent] = /^(?:Mandatory|Too few)[^"]*"([^"]+)"/.exec(first) ?? [];
  const place = placeIn(complaint);
  const named = place.replace(/\[[^/]*\]$/, '').endsWith(`/${absent ?? ''}`);
  const path = absent === undefined || named ? place : `${place}/${absent}`;
  return { kind: kindOf(first), message: first, path };
}

const KINDS: readonly (readonly [RegExp, RefusalKind])[] = [
  [/^Invalid leafref value/, 'reference'],
  [/^(Unsatisfied (pattern|length|range)|Invalid |Value |Failed to convert )/, 'value'],
  [/^(Mandatory |List instance is missing|Too few )/, 'missing'],
  [/^Too many /, 'too-many'],
  [/^(Duplicate instance|Unique data leaf)/, 'twice'],
  [/^When condition/, 'condition'],
  [/^Data for both cases/, 'cases'],
  [/^Unexpected data state node/, 'state'],
  [/^(Node ".*" not found|No module named)/, 'unknown'],
  [/(is expected to be represented|^Expecting JSON)/, 'shape'],
];

/** What is none of libyang's own sentences is the `error-message` of a `must`. */
function kindOf(message: string): RefusalKind {
  return KINDS.find(([sentence]) => sentence.test(message))?.[1] ?? 'rule';
}

/** libyang 2: `(Schema location "…", data location "/…", line number 7.)`; libyang 3: `(/…) (line 7)`. */
function placeIn(complaint: string): string {
  for (const line of complaint.split('\n')) {
    const place =
      /[Dd]ata location "(.*?)"(?:, line number \d+)?\.\)$/.exec(line)?.[1] ??
      /\(Schema location "(.*?)"(?:, line number \d+)?\.\)$/.exec(line)?.[1] ??
      /\((\/.*)\) \(line \d+\)$/.exec(line)?.[1] ??
      /\((\/.*)\)$/.exec(line)?.[1];
    if (place !== undefined) return place;
  }
  return '';
}
