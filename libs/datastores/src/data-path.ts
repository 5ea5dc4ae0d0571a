/**
 * Data paths (instance-identifiers of RFC 7951 section 6.11) and edits of a tree at one.
 * It must not know a schema: what may stand where is for the validation to say, and by what a list is keyed is given.
 */
import type { PlanValue } from '@kedge/contracts';

import { type Container, membersIn } from './document.js';
import { type IntentRefusal, isRefusal, refusal } from './refusal.js';

/** Steps of a path, at most. */
const STEPS_MAX = 32;
/** Edits of one request, at most. */
export const EDITS_MAX = 1000;

/** One step: a member, and where that is a list which entry of it. */
export interface PathStep {
  /** As it stands in the tree: qualified by its module where that differs from its parent's. */
  readonly name: string;
  /** Values of leafs that the entry has, by name; `.` = the value of a leaf-list's entry itself. */
  readonly where: readonly { readonly leaf: string; readonly value: string }[];
}

/**
 * What a schema says of lists: the names of the keys of the list at a path, `.` alone of a leaf-list; undefined where it
 * knows none. The path is one without keys, of the names of nodes as they stand in a document.
 */
export type KeysOf = (path: string) => readonly string[] | undefined;

/** What an edit does, as the operations of RFC 6241 section 7.2 do. */
export const EDIT_KINDS = ['merge', 'replace', 'create', 'delete', 'remove'] as const;
/**
 * `merge` puts the value there and leaves what stands beside it: members of containers by their names, entries of lists
 * by their keys, entries of leaf-lists by their values; what was there keeps its place, what is new comes last. `replace` puts the value there, whatever stood there. `create` does where nothing stands. `delete` takes away what
 * stands there. `remove` takes it away, too, and is content with nothing.
 */
export type EditKind = (typeof EDIT_KINDS)[number];

/** One edit. */
export interface IntentEdit {
  readonly kind: EditKind;
  /** Data path, `/kedge-site:site/zone[name='lan']/vlan`. */
  readonly path: string;
  /** Of `merge`, `replace` and `create`. For an entry of a list its keys may be left out: the path says them. */
  readonly value?: PlanValue;
}

const NAME = /^(?:[A-Za-z_][A-Za-z0-9_.-]*:)?[A-Za-z_][A-Za-z0-9_.-]*/;
const WHERE =
  /^\[\s*(\.|(?:[A-Za-z_][A-Za-z0-9_.-]*:)?[A-Za-z_][A-Za-z0-9_.-]*)\s*=\s*(?:'([^']*)'|"([^"]*)")\s*\]/;

/** The steps of a path; `INTENT_PATH` where it is none. */
export function stepsOf(path: string): readonly PathStep[] | IntentRefusal {
  const steps: PathStep[] = [];
  let rest = path;
  while (rest !== '') {
    const name = rest.startsWith('/') ? NAME.exec(rest.slice(1))?.[0] : undefined;
    if (name === undefined) return wrongPath(path, path.length - rest.length);
    rest = rest.slice(1 + name.length);
    const where: PathStep['where'][number][] = [];
    for (let found = WHERE.exec(rest); found !== null; found = WHERE.exec(rest)) {
      where.push({ leaf: found[1] ?? '', value: found[2] ?? found[3] ?? '' });
      rest = rest.slice(found[0].length);
    }
    steps.push({ name, where });
  }
  return steps.length > 0 && steps.length <= STEPS_MAX ? steps : wrongPath(path, 0);
}

/** The tree after all edits, one after the other; a refusal where one of them cannot be made, and then none is. */
export function edited(
  tree: Container,
  edits: readonly IntentEdit[],
  keysOf: KeysOf,
): Container | IntentRefusal {
  if (edits.length === 0 || edits.length > EDITS_MAX) {
    return refusal({
      code: 'INTENT_REQUEST',
      message: `cannot edit the candidate: there are ${edits.length} edits`,
      field: 'edits',
      expected: `1 to ${EDITS_MAX} edits`,
    });
  }
  let result: Container = tree;
  for (const [at, edit] of edits.entries()) {
    const next = editedBy(result, edit, keysOf);
    if (isRefusal<Container>(next)) return { ...next, field: `edits[${at}].${next.field ?? 'path'}` };
    result = next;
  }
  return result;
}

function editedBy(
  tree: Container,
  { kind, path, value }: IntentEdit,
  keysOf: KeysOf,
): Container | IntentRefusal {
  const steps = stepsOf(path);
  if (isRefusal<readonly PathStep[]>(steps)) return steps;
  const puts = kind === 'merge' || kind === 'replace' || kind === 'create';
  if (puts !== (value !== undefined)) {
    return refusal({
      code: 'INTENT_REQUEST',
      message: `cannot ${kind} ${path}: ${puts ? 'there is no value' : 'it takes no value'}`,
      field: 'value',
      expected: puts ? 'a value' : 'no value',
    });
  }
  if (value !== undefined) {
    const counted = membersIn(value, steps.length);
    if (typeof counted === 'string') {
      return refusal({
        code: 'INTENT_DOCUMENT',
        message: `cannot ${kind} ${path}: ${counted}`,
        field: 'value',
        expected: 'a value in the JSON of RFC 7951',
      });
    }
  }
  const place = steps.map(({ name }) => `/${name}`).join('');
  const changed = inContainer(tree, steps, { kind, value, place, keysOf });
  switch (changed) {
    case EXISTS:
      return refusal({
        code: 'INTENT_PATH_EXISTS',
        message: `cannot create ${path}: it is there`,
        field: 'path',
        expected: 'a path where nothing stands; replace it otherwise',
      });
    case MISSING:
      return refusal({
        code: 'INTENT_PATH_MISSING',
        message: `cannot ${kind} ${path}: it is not there, or the entry that it goes through is not`,
        field: 'path',
        expected: 'a path of the candidate; an entry of a list is created before what stands in it',
      });
    case OTHER:
      return refusal({
        code: 'INTENT_PATH',
        message: `cannot ${kind} ${path}: what stands there, or the value, is of another kind`,
        field: 'path',
        expected: 'a predicate for each list on the way and for nothing else, and a value that has its keys',
      });
    case UNKNOWN:
      return refusal({
        code: 'INTENT_PATH',
        message: `cannot merge into ${path}: the modules know nothing of a list there, or in the value`,
        field: 'path',
        expected: 'lists that the modules have; replace it otherwise',
      });
    case NOTHING:
      return {};
    default:
      return changed as Container;
  }
}

/** What came instead of a value. Symbols: a value may be any text. */
const EXISTS = Symbol('exists');
const MISSING = Symbol('missing');
const OTHER = Symbol('other');
/** A list of which nobody knows by what it is keyed. */
const UNKNOWN = Symbol('unknown');
/** Nothing stands there any more. */
const NOTHING = Symbol('nothing');
type Wrong = typeof EXISTS | typeof MISSING | typeof OTHER | typeof UNKNOWN;
type Changed = PlanValue | Wrong | typeof NOTHING;

const isWrong = (changed: Changed): changed is Wrong =>
  changed === EXISTS || changed === MISSING || changed === OTHER || changed === UNKNOWN;

interface Operation {
  readonly kind: EditKind;
  readonly value: PlanValue | undefined;
  /** Where the path leads, without keys. */
  readonly place: string;
  readonly keysOf: KeysOf;
}

const isContainer = (value: PlanValue | undefined): value is Container =>
  typeof value === 'object' && value !== null && !Array.isArray(value);
const isList = (value: PlanValue | undefined): value is readonly PlanValue[] => Array.isArray(value);

/** The container after the operation at what `steps` lead to from it. */
function inContainer(
  container: Container,
  [step, ...rest]: readonly PathStep[],
  operation: Operation,
): Changed {
  if (step === undefined) return OTHER;
  const { name, where } = step;
  // A member may be called like anything that objects have by themselves.
  const here = Object.hasOwn(container, name) ? container[name] : undefined;
  const changed =
    where.length > 0
      ? inList(here, where, rest, operation)
      : rest.length === 0
        ? operated(here, operation)
        : below(here, rest, operation);
  if (isWrong(changed)) return changed;
  const others = Object.entries(container).filter(([each]) => each !== name);
  return Object.fromEntries(changed === NOTHING ? others : [...others, [name, changed]]);
}

function operated(here: PlanValue | undefined, { kind, value = null, place, keysOf }: Operation): Changed {
  switch (kind) {
    case 'merge':
      return merged(here, value, place, keysOf);
    case 'create':
      return here === undefined ? value : EXISTS;
    case 'replace':
      return value;
    case 'delete':
      return here === undefined ? MISSING : NOTHING;
    case 'remove':
      return NOTHING;
  }
}

/** What stands at a place with a value merged into it. */
function merged(
  here: PlanValue | undefined,
  value: PlanValue,
  place: string,
  keysOf: KeysOf,
): PlanValue | typeof OTHER | typeof UNKNOWN {
  if (here === undefined) return value;
  if (isList(here) && isList(value)) return mergedLists(here, value, place, keysOf);
  if (isList(here) || isList(value)) return OTHER;
  if (!isContainer(here) || !isContainer(value))
    return isContainer(here) || isContainer(value) ? OTHER : value;
  const members = new Map(Object.entries(here));
  for (const [name, each] of Object.entries(value)) {
    const result = merged(members.get(name), each, `${place}/${name}`, keysOf);
    if (typeof result === 'symbol') return result;
    members.set(name, result);
  }
  return Object.fromEntries(members);
}

function mergedLists(
  here: readonly PlanValue[],
  value: readonly PlanValue[],
  place: string,
  keysOf: KeysOf,
): PlanValue | typeof OTHER | typeof UNKNOWN {
  const keys = keysOf(place);
  // `[null]` is a value of its own: the leaf is there.
  if (keys === undefined) return value.length === 1 && value[0] === null ? value : UNKNOWN;
  const entries = [...here];
  const places = new Map<string, number>();
  for (const [at, entry] of entries.entries()) {
    const name = nameOf(entry, keys);
    if (name !== undefined) places.set(name, at);
  }
  for (const entry of value) {
    const name = nameOf(entry, keys);
    if (name === undefined) return OTHER;
    const at = places.get(name);
    const result = at === undefined ? entry : merged(entries[at], entry, place, keysOf);
    if (typeof result === 'symbol') return result;
    if (at === undefined) places.set(name, entries.push(result) - 1);
    else entries[at] = result;
  }
  return entries;
}

/** The keys of an entry as one text; undefined where it has not all of them. */
function nameOf(entry: PlanValue, keys: readonly string[]): string | undefined {
  const values = keys.map((key) =>
    key === '.' ? entry : isContainer(entry) && Object.hasOwn(entry, key) ? entry[key] : undefined,
  );
  if (
    keys.length === 0 ||
    values.some((each) => each === undefined || each === null || typeof each === 'object')
  )
    return undefined;
  return JSON.stringify(values.map(String));
}

/** Containers on the way are made where something is put into them. */
function below(here: PlanValue | undefined, rest: readonly PathStep[], operation: Operation): Changed {
  if (here === undefined && operation.kind === 'remove') return NOTHING;
  if (here === undefined && operation.kind === 'delete') return MISSING;
  if (here !== undefined && !isContainer(here)) return OTHER;
  return inContainer(here ?? {}, rest, operation);
}

function inList(
  here: PlanValue | undefined,
  where: PathStep['where'],
  rest: readonly PathStep[],
  operation: Operation,
): Changed {
  if (here !== undefined && !isList(here)) return OTHER;
  const list = here ?? [];
  const { kind, value } = operation;
  const at = list.findIndex((entry) => isMeant(entry, where));
  const entry = list[at];
  let changed: Changed;
  if (rest.length === 0) {
    // The path says which entry it is: the value has to say the same, in its own type.
    if (value !== undefined && !isMeant(value, where)) return OTHER;
    changed = operated(entry, operation);
  } else if (entry === undefined) {
    // Its keys cannot be made of a path, which does not know their types.
    changed = kind === 'remove' ? NOTHING : MISSING;
  } else {
    changed = isContainer(entry) ? inContainer(entry, rest, operation) : OTHER;
  }
  if (isWrong(changed)) return changed;
  // The order of a list may be its user's: an entry keeps its place, a new one comes last.
  const after =
    changed === NOTHING
      ? list.filter((_, index) => index !== at)
      : entry === undefined
        ? [...list, changed]
        : list.with(at, changed);
  return after.length === 0 ? NOTHING : after;
}

function isMeant(entry: PlanValue, where: PathStep['where']): boolean {
  return where.every(({ leaf, value }) => {
    const found =
      leaf === '.' ? entry : isContainer(entry) && Object.hasOwn(entry, leaf) ? entry[leaf] : undefined;
    if (found === undefined || (typeof found === 'object' && found !== null)) return false;
    return String(found) === value;
  });
}

function wrongPath(path: string, at: number): IntentRefusal {
  return refusal({
    code: 'INTENT_PATH',
    message: `cannot read ${JSON.stringify(path.slice(0, 200))} as a data path: at character ${at}`,
    field: 'path',
    expected: `1 to ${STEPS_MAX} steps like /module:name[key='value']/name`,
  });
}
