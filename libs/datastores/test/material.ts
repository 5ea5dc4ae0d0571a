/**
 * What the tests of the datastores are made with: hashes, moments, people, storage in memory, a small strict schema.
 * It must not judge.
 */
import { createHash } from 'node:crypto';

import { epochOf, nanosOf } from '@kedge/units';

import {
  type Change,
  checkKept,
  type DatastoresEvent,
  type DatastoresState,
  type Effect,
  headRevisions,
  type Heads,
  type Holder,
  INITIAL,
  type IntentSchema,
  type Keep,
  type Kept,
  type Moment,
  type Reply,
  type Revision,
  step,
  type Surroundings,
  treeOf,
  type Validation,
} from '../src/index.js';

export const sha256 = (text: string): string => createHash('sha256').update(text, 'utf8').digest('hex');
export const AROUND: Surroundings = {
  sha256,
  documentBytes: 4096,
  history: { revisions: 5, bytes: 16_384 },
  keysOf: (path) => (path === '/site:vlan' ? ['id'] : undefined),
};
export const ADA: Holder = { principal: 'user:ada', tier: 'master', channel: 'local' };
export const BEN: Holder = { principal: 'user:ben', tier: 'master', channel: 'local' };
export const MODULES = sha256('modules 1');

export const EPOCH = epochOf(7n);

/** The moment so many seconds after the beginning. */
export const at = (seconds: number): Moment => ({
  ns: nanosOf(BigInt(Math.round(seconds * 1e9)) + 1_000_000_000n),
  wallMs: Date.UTC(2026, 10, 29, 12) + Math.round(seconds * 1000),
});

/** Takes transactions as a store has to: whole, and only those that fit what it has. */
export class MemoryKeeping {
  heads: Heads | undefined;
  readonly revisions = new Map<number, Revision>();
  readonly documents = new Map<string, string>();
  steps = 0;
  /** Thrown instead of the next transactions. */
  failing: Error | undefined;

  take({ heads, revisions, documents, drop, forget }: Keep): void {
    if (heads.step !== this.steps + 1) throw new Error(`step ${heads.step} after ${this.steps}`);
    for (const { hash, text } of documents) {
      if (this.documents.has(hash)) throw new Error(`the document ${hash} is there`);
      this.documents.set(hash, text);
    }
    for (const revision of revisions) {
      if (this.revisions.has(revision.number)) throw new Error(`revision ${revision.number} is there`);
      this.revisions.set(revision.number, revision);
    }
    for (const number of drop) if (!this.revisions.delete(number)) throw new Error(`no revision ${number}`);
    for (const hash of forget) if (!this.documents.delete(hash)) throw new Error(`no document ${hash}`);
    this.heads = heads;
    this.steps += 1;
    const named = new Set([...this.revisions.values()].map(({ hash }) => hash)).add(heads.candidate.hash);
    if (named.size !== this.documents.size) throw new Error('documents that nobody names');
    checkKept(this.kept(), sha256);
  }

  async keep(keep: Keep): Promise<void> {
    await Promise.resolve();
    if (this.failing !== undefined) throw this.failing;
    this.take(keep);
  }

  async documentOf(hash: string): Promise<string> {
    const text = this.documents.get(hash);
    if (text === undefined) throw new Error(`no document ${hash}`);
    return text;
  }

  /** What a start reads: the documents that heads name, and no others. */
  kept(): Kept {
    const { heads } = this;
    if (heads === undefined) throw new Error('nothing was kept');
    const revisions = [...this.revisions.values()].sort((a, b) => a.number - b.number);
    const inForce = headRevisions(heads).map((number) => this.revisions.get(number)?.hash ?? '');
    const documents = new Map(
      [...inForce, heads.candidate.hash].map((hash) => [hash, this.documents.get(hash) ?? ''] as const),
    );
    return { heads, revisions, documents };
  }
}

/** A machine that is driven by hand, with storage that follows. */
export class Driven {
  state: DatastoresState = INITIAL;
  readonly keeping: MemoryKeeping;
  readonly answers: Record<string, Reply> = {};
  effects: readonly Effect[] = [];
  #requests = 0;

  constructor(keeping = new MemoryKeeping()) {
    this.keeping = keeping;
  }

  /** Feeds an event; the answer to it, where there is one. */
  take(event: DatastoresEvent): Reply | undefined {
    const result = step(this.state, event, AROUND);
    if (result.kind === 'refused') throw new Error(result.why);
    const keeps = result.effects.filter((effect) => effect.do === 'keep');
    if (keeps.length > 1 || (keeps.length === 1 && result.effects[0]?.do !== 'keep')) {
      throw new Error('the transaction is not the first effect');
    }
    for (const { keep } of keeps) this.keeping.take(keep);
    this.state = result.state;
    this.effects = result.effects;
    for (const effect of result.effects) {
      if (effect.do !== 'answer') continue;
      if (this.answers[effect.id] !== undefined) throw new Error(`${effect.id} was answered twice`);
      this.answers[effect.id] = effect.reply;
    }
    return 'id' in event ? this.answers[event.id] : undefined;
  }

  /** A fresh id. */
  id(): string {
    this.#requests += 1;
    return `request-${this.#requests}`;
  }

  /** What was done of a kind in the last step. */
  did<D extends Effect['do']>(kind: D): readonly Extract<Effect, { do: D }>[] {
    return this.effects.filter((effect): effect is Extract<Effect, { do: D }> => effect.do === kind);
  }

  get open() {
    if (this.state.phase === 'opening') throw new Error('it is opening');
    return this.state;
  }
}

/** Opened at level 5, with nothing kept or with what a keeping has. */
export function opened(
  keeping?: MemoryKeeping,
  level: 1 | 2 | 3 | 4 | 5 = 5,
  seconds = 0,
  modules = MODULES,
): Driven {
  const driven = new Driven(keeping);
  driven.take({ kind: 'level', at: at(seconds), level, epoch: EPOCH });
  const kept = keeping === undefined ? undefined : keeping.kept();
  driven.take({ kind: 'opened', at: at(seconds), kept, modules });
  return driven;
}

/**
 * A schema in a few lines: top-level `site:name` (a text) and `site:vlan` (a list with `id` 1 to 4094 and a unique
 * `name`), nothing else, and no document without a name.
 */
export class StrictSchema implements IntentSchema {
  readonly modules = MODULES;

  readonly keysOf = AROUND.keysOf;

  async validate(text: string): Promise<Validation> {
    const tree = treeOf({ text });
    const findings = [];
    for (const name of Object.keys(tree)) {
      if (name !== 'site:name' && name !== 'site:vlan')
        findings.push({ path: `/${name}`, message: 'unknown node' });
    }
    if (typeof tree['site:name'] !== 'string') {
      findings.push({ path: '/site:name', message: 'mandatory node is missing', appTag: 'missing-instance' });
    }
    const names = new Set<unknown>();
    for (const each of (tree['site:vlan'] ?? []) as readonly {
      readonly id: number;
      readonly name?: string;
    }[]) {
      const path = `/site:vlan[id='${each.id}']`;
      if (!(each.id >= 1 && each.id <= 4094)) findings.push({ path: `${path}/id`, message: 'out of range' });
      if (each.name !== undefined && names.has(each.name))
        findings.push({ path, message: 'name is not unique' });
      names.add(each.name);
    }
    return { findings, complete: true };
  }

  async diff(from: string, to: string): Promise<readonly Change[]> {
    const [before, after] = [treeOf({ text: from }), treeOf({ text: to })];
    return [...new Set([...Object.keys(before), ...Object.keys(after)])]
      .sort()
      .flatMap((name): readonly Change[] => {
        const [was, is] = [before[name], after[name]];
        if (JSON.stringify(was) === JSON.stringify(is)) return [];
        if (was === undefined)
          return is === undefined ? [] : [{ path: `/${name}`, kind: 'create', after: is }];
        return is === undefined
          ? [{ path: `/${name}`, kind: 'delete', before: was }]
          : [{ path: `/${name}`, kind: 'replace', before: was, after: is }];
      });
  }
}
