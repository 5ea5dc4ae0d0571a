/**
 * One tree held against its modules, and remembered: what did not change is not judged again.
 * It must not know where in a document the tree stands.
 */
import type { Container, Finding, Validation } from '@kedge/datastores';
import { type Context, YangError } from '@kedge/libyang-ts';
import { createHash } from 'node:crypto';

import { placeOf } from './finding-place.js';
import { namelessFindings } from './nameless.js';
import type { TreeShape } from './tree-shape.js';

/** Findings of one tree, at most. */
const FINDINGS_MAX = 100;
/** Longest text of a finding, characters. */
const MESSAGE_MAX = 500;
/** What libyang has to say about a document. Everything else is its own trouble and no finding. */
const ABOUT_DATA = ['YANG_INVALID', 'YANG_MALFORMED', 'YANG_TOO_DEEP', 'YANG_ENCODING'];

const ACCEPTED: Validation = { findings: [], complete: true };

/** What a tree is judged by. */
export interface TreeRules {
  readonly context: Context;
  readonly shape: TreeShape;
  /** What else has to hold of what the modules accept. */
  readonly beyond?: (tree: Container) => readonly Finding[];
}

/** Judges trees. */
export class TreeJudge {
  readonly #remembered: number;
  /** By hash; who was asked for last stands last. */
  readonly #known = new Map<string, Validation>();

  /** @param remembered how many verdicts are kept. */
  constructor(remembered: number) {
    this.#remembered = remembered;
  }

  /**
   * What is wrong with a tree; paths begin at its top.
   *
   * @param name of the tree in yang/trees.json.
   * @throws YangError where libyang could not be asked.
   */
  async judge(name: string, tree: Container, rules: TreeRules): Promise<Validation> {
    const text = JSON.stringify(tree);
    const hash = createHash('sha256').update(`${name}\n`).update(text).digest('hex');
    const known = this.#known.get(hash);
    const verdict = known ?? (await judged(text, tree, rules));
    this.#known.delete(hash);
    this.#known.set(hash, verdict);
    const [oldest] = this.#known.keys();
    if (this.#known.size > this.#remembered && oldest !== undefined) this.#known.delete(oldest);
    return verdict;
  }
}

async function judged(
  text: string,
  tree: Container,
  { context, shape, beyond }: TreeRules,
): Promise<Validation> {
  let error: YangError;
  try {
    const parsed = await context.parseConfiguration(text);
    parsed.dispose();
    const more = [...namelessFindings(text, tree, shape), ...(beyond?.(tree) ?? [])];
    return more.length === 0 ? ACCEPTED : bounded(more, true);
  } catch (caught) {
    if (!(caught instanceof YangError) || !ABOUT_DATA.includes(caught.code)) throw caught;
    error = caught;
  }
  const findings = error.problems.map((problem): Finding => {
    const { message, appTag } = problem;
    return { path: placeOf(problem, tree, shape), message, ...(appTag === undefined ? {} : { appTag }) };
  });
  return findings.length === 0
    ? bounded([{ path: '', message: error.message }], error.complete)
    : bounded(findings, error.complete);
}

function bounded(findings: readonly Finding[], complete: boolean): Validation {
  // One fault may be told twice, by two nodes of the schema.
  const once = [...new Map(findings.map((each) => [`${each.path} ${each.message}`, each])).values()];
  const kept = once
    .slice(0, FINDINGS_MAX)
    .map((finding) => ({ ...finding, message: finding.message.slice(0, MESSAGE_MAX) }));
  return { findings: kept, complete: complete && once.length <= FINDINGS_MAX };
}
