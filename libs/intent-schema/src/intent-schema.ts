/**
 * The schema of the intent: documents judged and compared over libyang, each tree by itself, and what spans trees.
 * It must not block the event loop for longer than it takes to read a text, nor keep a tree of data.
 */
import type { Change, Container, Finding, IntentSchema, Validation } from '@kedge/datastores';
import { KedgeError } from '@kedge/units';
import { type OpenTrees, openTrees } from '@kedge/yang-trees';
import { createHash } from 'node:crypto';
import { setImmediate as nextTurn } from 'node:timers/promises';

import { accordsFindings } from './accords-findings.js';
import { isAlike } from './alike.js';
import { isContainer, memberOf, predicatesOf } from './data-place.js';
import {
  DEVICES,
  type DevicePart,
  DOCUMENT_TREES,
  type DocumentTree,
  type Parts,
  partsOf,
  type Shapes,
} from './document-parts.js';
import { changeOf, memberChanges, treeChanges } from './tree-changes.js';
import { TreeJudge, type TreeRules } from './tree-judge.js';
import { TreeShape } from './tree-shape.js';

/** What the rules beyond the modules are; goes into the hash of the modules, so that a change of them is one. */
const RULES = 'kedge.intent-schema/2';
/** Findings of one document, at most. */
const FINDINGS_MAX = 1000;
/** Calls that wait for their turn, at most. */
const WAITING_MAX = 32;
/** Devices that are done between two turns of the event loop. */
const DEVICES_A_TURN = 16;

/** What a schema is opened with. */
export interface IntentSchemaOptions {
  /** Directory with trees.json and the own modules; the project's own where none is given. */
  readonly directory?: string;
  /** How many verdicts over trees are remembered; default 4096. */
  readonly remembered?: number;
}

/** A schema that holds contexts of libyang; `dispose` when done. */
export interface OpenIntentSchema extends IntentSchema, Disposable {
  dispose(): void;
}

/**
 * Opens the modules by which the intent is judged.
 *
 * @throws KedgeError `SCHEMA_TREES`; YangError `YANG_MODULE` where libyang does not take a module.
 */
export function openIntentSchema({
  directory,
  remembered = 4096,
}: IntentSchemaOptions = {}): OpenIntentSchema {
  return new LibyangSchema(openTrees(DOCUMENT_TREES, directory), remembered);
}

class LibyangSchema implements OpenIntentSchema {
  readonly modules: string;
  readonly #trees: OpenTrees;
  readonly #shapes: Shapes;
  readonly #judge: TreeJudge;
  #turn: Promise<unknown> = Promise.resolve();
  #waiting = 0;

  constructor(trees: OpenTrees, remembered: number) {
    this.#trees = trees;
    this.#shapes = Object.fromEntries(
      DOCUMENT_TREES.map((name) => [name, new TreeShape(trees.top(name))]),
    ) as Record<DocumentTree, TreeShape>;
    this.#judge = new TreeJudge(remembered);
    this.modules = createHash('sha256')
      .update(`${RULES}\n${trees.fingerprint(DOCUMENT_TREES)}\n`)
      .digest('hex');
  }

  /** @throws KedgeError `INTENT_BUSY`; YangError where libyang could not be asked. */
  validate(text: string): Promise<Validation> {
    return this.#inTurn('validate a document', () => this.#validate(text));
  }

  /** @throws as {@link validate} */
  diff(from: string, to: string): Promise<readonly Change[]> {
    return this.#inTurn('compare documents', () => this.#diff(from, to));
  }

  readonly keysOf = (path: string): readonly string[] | undefined => {
    const { device, ...others } = this.#shapes;
    const within = `/${DEVICES}`;
    if (path.startsWith(`${within}/`)) return device.listAt(path.slice(within.length))?.keys;
    return Object.values(others)
      .map((shape) => shape.listAt(path)?.keys)
      .find((keys) => keys !== undefined);
  };

  dispose(): void {
    this.#trees.dispose();
  }

  [Symbol.dispose](): void {
    this.dispose();
  }

  /** One call after the other: a context has one job at a time, and documents are large. */
  #inTurn<T>(doing: string, work: () => Promise<T>): Promise<T> {
    if (this.#waiting >= WAITING_MAX) {
      const busy = new KedgeError({
        code: 'INTENT_BUSY',
        message: `cannot ${doing}: too many wait for the same`,
        expected: `at most ${WAITING_MAX}`,
        help: 'ask again in a moment',
      });
      return Promise.reject(busy);
    }
    this.#waiting += 1;
    const result = this.#turn.then(work).finally(() => {
      this.#waiting -= 1;
    });
    this.#turn = result.catch(() => undefined);
    return result;
  }

  async #validate(text: string): Promise<Validation> {
    const parts = partsOf(parsed(text), this.#shapes);
    const verdicts: Validation[] = [
      { findings: parts.strays.map(stray), complete: true },
      { findings: againFindings(parts), complete: true },
    ];
    for (const name of ['accords', 'site', 'intent'] as const) {
      const tree = parts[name];
      if (tree !== undefined) verdicts.push(await this.#judge.judge(name, tree, this.#rules(name)));
    }
    const rules = this.#rules('device');
    let found = 0;
    for (const [at, device] of parts.devices.entries()) {
      if (at % DEVICES_A_TURN === 0) await nextTurn();
      const spans = unknownDevice(device, parts);
      if (spans !== undefined) verdicts.push({ findings: [spans], complete: true });
      if (Object.keys(device.tree).length === 0) continue;
      const { findings, complete } = await this.#judge.judge('device', device.tree, rules);
      found += findings.length;
      if (findings.length > 0)
        verdicts.push({
          findings: findings.map((finding) => ({ ...finding, path: `${device.path}${finding.path}` })),
          complete,
        });
      // Nobody reads more; what was not looked at is not called right.
      if (found > FINDINGS_MAX) break;
    }
    return combined(verdicts);
  }

  async #diff(from: string, to: string): Promise<readonly Change[]> {
    const [before, after] = [parsed(from), parsed(to)];
    const [was, is] = [partsOf(before, this.#shapes), partsOf(after, this.#shapes)];
    const { accords, site } = this.#shapes;
    const changes: Change[] = [
      ...memberChanges(strayMembers(before, this.#shapes), strayMembers(after, this.#shapes)),
      // Zones and allowlist stand in both trees, and are told once.
      ...(await this.#changes('accords', only(before, accords, site), only(after, accords, site))),
      ...(await this.#changes('site', was.site ?? {}, is.site ?? {})),
    ];
    // Where one list is none, or has entries that no path names, it is one node.
    if (!isPlainList(was, before) || !isPlainList(is, after))
      return [...changes, ...memberChanges(listMember(before), listMember(after))];
    const devicesBefore = new Map(was.devices.map((device) => [device.path, device]));
    const devicesAfter = new Map(is.devices.map((device) => [device.path, device]));
    const entries = { before: entriesOf(before), after: entriesOf(after) };
    let at = 0;
    for (const path of new Set([...devicesBefore.keys(), ...devicesAfter.keys()])) {
      at += 1;
      if (at % DEVICES_A_TURN === 0) await nextTurn();
      const [one, other] = [devicesBefore.get(path), devicesAfter.get(path)];
      if (one === undefined || other === undefined) {
        changes.push(changeOf(path, entries.before.get(path), entries.after.get(path)));
      } else if (!isAlike(entries.before.get(path), entries.after.get(path))) {
        const strayed = memberChanges(
          strayMembers(entries.before.get(path), this.#shapes, 'device'),
          strayMembers(entries.after.get(path), this.#shapes, 'device'),
        );
        const own = await this.#changes('device', one.tree, other.tree);
        for (const change of [...strayed, ...own]) changes.push({ ...change, path: `${path}${change.path}` });
      }
    }
    return changes;
  }

  /** Members that one of the two has not are told as a whole; the rest is for libyang. */
  async #changes(name: DocumentTree, before: Container, after: Container): Promise<readonly Change[]> {
    const both = (container: Container): Container =>
      Object.fromEntries(
        Object.entries(container).filter(
          ([each]) => Object.hasOwn(before, each) && Object.hasOwn(after, each),
        ),
      );
    const apart = memberChanges(rest(before, after), rest(after, before));
    const [one, other] = [both(before), both(after)];
    const together = isAlike(one, other) ? [] : await treeChanges(one, other, this.#rules(name));
    return [...apart, ...together];
  }

  #rules(name: DocumentTree): TreeRules {
    return {
      context: this.#trees.context(name),
      shape: this.#shapes[name],
      ...(name === 'accords' ? { beyond: accordsFindings } : {}),
    };
  }
}

function parsed(text: string): Container {
  const value: unknown = JSON.parse(text);
  return isContainer(value) ? value : {};
}

const stray = (path: string): Finding => ({ path, message: 'it belongs to no tree of the intent' });

function againFindings({ again }: Parts): readonly Finding[] {
  return again.map((path) => ({ path, message: 'the device stands here twice' }));
}

/** Every device is one of the site (UN-3). */
function unknownDevice({ id, path }: DevicePart, { inventory }: Parts): Finding | undefined {
  if (id === undefined || inventory.has(id)) return undefined;
  return { path, message: 'the inventory of the site has no such device' };
}

function combined(verdicts: readonly Validation[]): Validation {
  const findings = verdicts.flatMap((verdict) => verdict.findings);
  return {
    findings: findings.slice(0, FINDINGS_MAX),
    complete: findings.length <= FINDINGS_MAX && verdicts.every(({ complete }) => complete),
  };
}

/** What a tree has and another one has not. */
function rest(container: Container, other: Container): Container {
  return Object.fromEntries(Object.entries(container).filter(([name]) => !Object.hasOwn(other, name)));
}

/** The members of one tree that are none of the other. */
function only(document: Container, of: TreeShape, not: TreeShape): Container {
  return Object.fromEntries(
    Object.entries(document).filter(([name]) => of.top.has(name) && !not.top.has(name)),
  );
}

/** Members that belong to no tree, of a document or of a device's entry. */
function strayMembers(value: unknown, shapes: Shapes, within?: 'device'): Container {
  const known = within === 'device' ? [shapes.device] : [shapes.accords, shapes.site, shapes.intent];
  return Object.fromEntries(
    Object.entries(isContainer(value) ? value : {}).filter(
      ([name]) => !(within === 'device' && name === 'id') && known.every(({ top }) => !top.has(name)),
    ),
  );
}

function listMember(document: Container): Container {
  const list = memberOf(document, DEVICES);
  return list === undefined ? {} : { [DEVICES]: list };
}

/** Whether every entry of the list of devices is known by its id. */
function isPlainList({ devices, again }: Parts, document: Container): boolean {
  const list = memberOf(document, DEVICES);
  if (list === undefined) return true;
  return (
    Array.isArray(list) &&
    again.length === 0 &&
    devices.every(({ id }) => id !== undefined) &&
    new Set(devices.map(({ path }) => path)).size === list.length
  );
}

/** The entries of a list of devices, by their paths; the list is a plain one. */
function entriesOf(document: Container): ReadonlyMap<string, Container> {
  const list = memberOf(document, DEVICES);
  const entries = (Array.isArray(list) ? list : []) as readonly Container[];
  return new Map(entries.map((entry, at) => [`/${DEVICES}${predicatesOf(entry, ['id'], at)}`, entry]));
}
