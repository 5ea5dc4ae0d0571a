/**
 * The way from the objects that a device has to those that it is meant to have: steps with inverses, in an order in
 * which every object stands on what it needs, there and back.
 * It must not know a kind of device: what is peculiar to one comes in as rules.
 */
import type { PlanValue, Step } from '@kedge/contracts';
import {
  type AnyDriver,
  compareNames,
  type DeviceObject,
  type DeviceObjects,
  OBJECT_KINDS,
} from '@kedge/driver-kit';
import { KedgeError } from '@kedge/units';

import { claimsOf, followsOf, Neighbourhood, needsOf } from './bonds.js';
import { circlesOf, Graph, sequenceOf } from './sequence.js';

/** What is peculiar to a kind of device. */
export type TransitionRules = Pick<AnyDriver, 'changesInPlace' | 'upsets' | 'atomicWith'>;

/** What becomes of one object. */
type Fate = 'keep' | 'set' | 'add' | 'remove' | 'replace';

interface Course {
  readonly path: string;
  readonly before: DeviceObject | undefined;
  readonly after: DeviceObject | undefined;
  fate: Fate;
  /** The path because of which it goes and comes again although it does not differ. */
  because?: string;
}

/** True for objects of equal value. */
export function sameObject(a: DeviceObject, b: DeviceObject): boolean {
  const [left, right] = [a.value, b.value];
  if (left === right) return true;
  return isSame(left, right);
}

/** What canonical texts would say, without writing them: lists in their order, members in any. */
function isSame(a: unknown, b: unknown): boolean {
  if (a === b) return true;
  if (typeof a !== 'object' || typeof b !== 'object' || a === null || b === null) return false;
  if (Array.isArray(a) || Array.isArray(b))
    return (
      Array.isArray(a) &&
      Array.isArray(b) &&
      a.length === b.length &&
      a.every((each: unknown, at) => isSame(each, b[at]))
    );
  const [left, right] = [a as Readonly<Record<string, unknown>>, b as Readonly<Record<string, unknown>>];
  const names = Object.keys(left);
  for (const name of names)
    if (!isSame(left[name], Object.hasOwn(right, name) ? right[name] : undefined)) return false;
  return Object.keys(right).every((name) => right[name] === undefined || Object.hasOwn(left, name));
}

/** Kinds whose values are changed where they stand; the others go and come again. */
const IN_PLACE: Readonly<Record<DeviceObject['kind'], boolean>> = {
  interface: false,
  description: true,
  mtu: true,
  'forwarding-ipv4': true,
  'forwarding-ipv6': true,
  'ageing-time': true,
  'bridge-vlan': true,
  'bridge-port': false,
  'acceptable-frames': true,
  'ingress-filtering': true,
  member: true,
  pvid: true,
  address: false,
  enabled: true,
  route: true,
  acl: true,
  'acl-attachment': true,
};

/**
 * The steps from `before` to `after`. Same input, same steps; none when there is nothing to do.
 *
 * @param originOf the node of intent that asks for what stands at a path; the path itself when left out.
 * @throws KedgeError `COMPILER_ATOMIC` when what a driver wants written together cannot be.
 */
export function stepsBetween(
  before: DeviceObjects,
  after: DeviceObjects,
  rules: TransitionRules = {},
  originOf: (path: string) => string = (path) => path,
): Step[] {
  const courses = coursesOf(before, after, rules);
  if (courses === undefined) return [];
  const near = { before: new Neighbourhood(before), after: new Neighbourhood(after) };
  const split = new Set<string>();
  for (;;) {
    takeUpset(courses, rules, before, after);
    const ordered = new Ordered(bound(courses), near, rules, before, after, split);
    if (!ordered.break()) return ordered.steps(originOf);
  }
}

/**
 * The courses that an order has to know, by path: all of them, but where everything stays and is at most changed where
 * it stands, nothing waits for what is kept.
 */
function bound(courses: ReadonlyMap<string, Course>): ReadonlyMap<string, Course> {
  const changed = [...courses.values()].filter(({ fate }) => fate !== 'keep');
  const all = changed.every(({ fate }) => fate === 'set') ? changed : [...courses.values()];
  return new Map(inOrder(all).map((course) => [course.path, course]));
}

/** The order of the input decides nothing. */
function inOrder(courses: Course[]): Course[] {
  return courses.sort((a, b) => (a.path < b.path ? -1 : 1));
}

/** What becomes of each object; undefined where nothing does. */
function coursesOf(
  before: DeviceObjects,
  after: DeviceObjects,
  rules: TransitionRules,
): Map<string, Course> | undefined {
  let isChanged = false;
  const courses = new Map<string, Course>();
  const put = (path: string, was: DeviceObject | undefined, is: DeviceObject | undefined): void => {
    const fate = fateOf(was, is, rules);
    if (fate !== 'keep') isChanged = true;
    courses.set(path, { path, before: was, after: is, fate });
  };
  for (const [path, was] of before) put(path, was, after.get(path));
  for (const [path, is] of after) if (!before.has(path)) put(path, undefined, is);
  return isChanged ? courses : undefined;
}

function fateOf(
  before: DeviceObject | undefined,
  after: DeviceObject | undefined,
  { changesInPlace }: TransitionRules,
): Fate {
  if (before === undefined) return 'add';
  if (after === undefined) return 'remove';
  if (sameObject(before, after)) return 'keep';
  return (changesInPlace?.(before, after) ?? IN_PLACE[before.kind]) ? 'set' : 'replace';
}

/** Turns what other changes take away besides into objects that go before and come again after. */
function takeUpset(
  courses: ReadonlyMap<string, Course>,
  { upsets }: TransitionRules,
  before: DeviceObjects,
  after: DeviceObjects,
): void {
  if (upsets === undefined) return;
  const waiting = inOrder([...courses.values()].filter(({ fate }) => fate !== 'keep' && fate !== 'add'));
  for (let course = waiting.pop(); course !== undefined; course = waiting.pop()) {
    for (const path of upsetBy(course, upsets, before, after)) {
      const other = courses.get(path);
      if (other === undefined || (other.fate !== 'keep' && other.fate !== 'set')) continue;
      replace(other, course.path);
      waiting.push(other);
    }
  }
}

function replace(course: Course, because: string): void {
  if (course.fate === 'keep') course.because = because;
  course.fate = 'replace';
}

/** Paths that the going or changing of an object takes away besides. */
function upsetBy(
  { before: was, after: is, fate }: Course,
  upsets: NonNullable<TransitionRules['upsets']>,
  before: DeviceObjects,
  after: DeviceObjects,
): readonly string[] {
  if (was === undefined || fate === 'keep') return [];
  return upsets({ before: was, after: fate === 'set' ? is : undefined }, before, after);
}

interface Node {
  readonly course: Course;
  /** What happens at this node. */
  readonly does: 'keep' | 'set' | 'add' | 'remove';
}

/** Courses as a graph: removal and appearance of an object are nodes, or one node where it stays. */
class Ordered {
  readonly #nodes: Node[] = [];
  readonly #leaves = new Map<string, number>();
  readonly #comes = new Map<string, number>();
  readonly #graph: Graph;
  readonly #rules: TransitionRules;
  /** Atomic groups whose going and coming cannot be one, because something else has to happen between. */
  readonly #split: Set<string>;

  constructor(
    courses: ReadonlyMap<string, Course>,
    near: { readonly before: Neighbourhood; readonly after: Neighbourhood },
    rules: TransitionRules,
    before: DeviceObjects,
    after: DeviceObjects,
    split: Set<string>,
  ) {
    this.#rules = rules;
    this.#split = split;
    for (const course of courses.values()) {
      const { fate, path } = course;
      if (fate === 'remove' || fate === 'replace') this.#leaves.set(path, this.#node(course, 'remove'));
      if (fate === 'add' || fate === 'replace') this.#comes.set(path, this.#node(course, 'add'));
      if (fate === 'set' || fate === 'keep') {
        const node = this.#node(course, fate);
        this.#leaves.set(path, node);
        this.#comes.set(path, node);
      }
    }
    this.#graph = new Graph(this.#nodes.length);
    this.#bind(courses, near, before, after);
  }

  #node(course: Course, does: Node['does']): number {
    return this.#nodes.push({ course, does }) - 1;
  }

  /** The node where an object appears anew; undefined where it was there before. */
  #coming(courses: ReadonlyMap<string, Course>, path: string): number | undefined {
    const fate = courses.get(path)?.fate;
    return fate === 'add' || fate === 'replace' ? this.#comes.get(path) : undefined;
  }

  /** The node where an object goes; undefined where it stays. */
  #leaving(courses: ReadonlyMap<string, Course>, path: string): number | undefined {
    const fate = courses.get(path)?.fate;
    return fate === 'remove' || fate === 'replace' ? this.#leaves.get(path) : undefined;
  }

  #bind(
    courses: ReadonlyMap<string, Course>,
    near: { readonly before: Neighbourhood; readonly after: Neighbourhood },
    before: DeviceObjects,
    after: DeviceObjects,
  ): void {
    const edge = (first: number | undefined, then: number | undefined): void => {
      if (first !== undefined && then !== undefined) this.#graph.edge(first, then);
    };
    const upset = new Set<string>();
    const { upsets } = this.#rules;
    for (const course of courses.values()) {
      if (upsets === undefined) break;
      for (const path of upsetBy(course, upsets, before, after)) {
        const by = this.#leaves.get(course.path);
        edge(this.#leaving(courses, path), by);
        edge(by, this.#coming(courses, path));
        upset.add(`${course.path} ${path}`);
      }
    }
    const holders = new Map<string, string[]>();
    for (const { before: was, path } of courses.values())
      for (const claim of was === undefined ? [] : claimsOf(was))
        holders.set(claim, [...(holders.get(claim) ?? []), path]);
    for (const { path, before: was, after: is, fate } of courses.values()) {
      const [leaves, comes] = [this.#leaves.get(path), this.#comes.get(path)];
      edge(leaves, comes);
      if (is !== undefined) {
        for (const any of needsOf(is, near.after)) {
          const chosen = any.find((need) => courses.get(need)?.fate === 'keep') ?? any[0];
          if (chosen !== undefined) edge(this.#coming(courses, chosen), comes);
        }
        // A link that goes down waits for nothing.
        if (fate !== 'keep' && !(is.kind === 'enabled' && !is.value))
          for (const first of followsOf(is, near.after)) {
            const other = courses.get(first);
            if (other !== undefined && other.fate !== 'keep' && other.fate !== 'remove')
              edge(this.#comes.get(first), comes);
          }
        for (const claim of claimsOf(is)) {
          if (was !== undefined && fate !== 'replace' && claimsOf(was).includes(claim)) continue;
          for (const holder of holders.get(claim) ?? []) {
            const other = courses.get(holder);
            if (holder === path || other === undefined) continue;
            const stays =
              other.fate !== 'replace' && other.after !== undefined && claimsOf(other.after).includes(claim);
            if (!stays) edge(this.#leaves.get(holder), comes);
          }
        }
      }
      if (was === undefined) continue;
      for (const any of needsOf(was, near.before)) {
        // As long as one of them stays, the others may go.
        const chosen = any.find((need) => courses.get(need)?.fate === 'keep') ?? any[0];
        if (chosen !== undefined) edge(leaves, this.#leaving(courses, chosen));
      }
      // What comes last goes first.
      if (was.kind === 'enabled' && (fate === 'remove' || (fate === 'set' && is?.value === false)))
        for (const first of followsOf(was, near.before))
          if (!upset.has(`${path} ${first}`)) edge(leaves, this.#leaving(courses, first));
    }
  }

  /** Opens circles by letting what stands in them go and come again; false when there are none. */
  break(): boolean {
    const circles = circlesOf(this.#graph);
    for (const circle of circles) this.#open(circle);
    if (circles.length > 0) return true;
    if (this.#rules.atomicWith === undefined) return false;
    const { whole, members, groups } = this.#grouped();
    const tied = circlesOf(whole);
    for (const circle of tied) {
      const whole = circle.flatMap((group) => groups[group] ?? []).filter((name) => !this.#split.has(name));
      for (const name of whole) this.#split.add(name);
      if (whole.length === 0) this.#open(circle.flatMap((group) => members[group] ?? []));
    }
    return tied.length > 0;
  }

  #open(circle: readonly number[]): void {
    const nodes = circle.flatMap((node) => this.#nodes[node] ?? []);
    const stays = nodes.filter(({ does }) => does === 'keep' || does === 'set');
    const cause =
      nodes
        .filter(({ does }) => does !== 'keep')
        .map(({ course }) => course.path)
        .sort(compareNames)[0] ?? '';
    if (stays.length === 0)
      throw new KedgeError({
        code: 'COMPILER_ATOMIC',
        message: `cannot order the changes around ${cause}: what is written together waits for itself`,
        field: cause,
        expected: 'a driver that groups only what can be written at once',
      });
    for (const { course } of stays) replace(course, cause);
  }

  /** The graph with the members of each atomic group as one node. */
  #grouped(): {
    readonly whole: Graph;
    readonly members: readonly number[][];
    readonly groups: readonly (string | undefined)[];
  } {
    const { atomicWith } = this.#rules;
    const byName = new Map<string, number>();
    const members: number[][] = [];
    const groups: (string | undefined)[] = [];
    const of = this.#nodes.map(({ course, does }, node) => {
      const object = course.after ?? course.before;
      const named = does === 'keep' || object === undefined ? undefined : atomicWith?.(object);
      const name =
        named !== undefined && this.#split.has(named)
          ? `${named} ${does === 'remove' ? 'going' : 'coming'}`
          : named;
      const known = name === undefined ? undefined : byName.get(name);
      if (known !== undefined) {
        members[known]?.push(node);
        return known;
      }
      const place = members.push([node]) - 1;
      groups.push(name);
      if (name !== undefined) byName.set(name, place);
      return place;
    });
    const whole = new Graph(members.length);
    for (const [node, after] of this.#graph.after.entries())
      for (const then of after) whole.edge(of[node] ?? 0, of[then] ?? 0);
    return { whole, members, groups };
  }

  /** The nodes in their order, and the steps that they are. */
  steps(originOf: (path: string) => string): Step[] {
    const compare = (a: number, b: number): number => this.#compare(a, b);
    const alone = sequenceOf(this.#graph, compare);
    const sorted =
      this.#rules.atomicWith === undefined
        ? alone.map((node) => ({ node, group: undefined }))
        : this.#together(alone, compare);
    return this.#stepsOf(
      sorted.filter(({ node }) => this.#nodes[node]?.does !== 'keep'),
      originOf,
    );
  }

  /** Nodes in an order in which the members of each atomic group stand together. */
  #together(
    alone: readonly number[],
    compare: (a: number, b: number) => number,
  ): { readonly node: number; readonly group: string | undefined }[] {
    const { whole, members, groups } = this.#grouped();
    const first = members.map((nodes) => nodes.toSorted(compare)[0] ?? 0);
    const order = sequenceOf(whole, (a, b) => compare(first[a] ?? 0, first[b] ?? 0));
    const place = new Int32Array(this.#nodes.length);
    for (const [index, node] of alone.entries()) place[node] = index;
    return order.flatMap((group) =>
      (members[group] ?? [])
        .toSorted((a, b) => (place[a] ?? 0) - (place[b] ?? 0))
        .map((node) => ({ node, group: (members[group]?.length ?? 0) > 1 ? groups[group] : undefined })),
    );
  }

  /** Make before break; within that the order of the kinds, turned round for what goes. */
  #compare(a: number, b: number): number {
    const [left, right] = [this.#nodes[a], this.#nodes[b]];
    if (left === undefined || right === undefined) return a - b;
    const rank = ({ course, does }: Node): number => {
      const kind = OBJECT_KINDS.indexOf((course.after ?? course.before)?.kind ?? 'interface');
      if (does === 'keep') return -1;
      return does === 'remove' ? 2 * OBJECT_KINDS.length - kind : kind;
    };
    // What only stays is ordered by its number, which follows from its path.
    if (left.does === 'keep' && right.does === 'keep') return a - b;
    return rank(left) - rank(right) || compareNames(left.course.path, right.course.path) || a - b;
  }

  #stepsOf(
    sorted: readonly { readonly node: number; readonly group: string | undefined }[],
    originOf: (path: string) => string,
  ): Step[] {
    const gaps = new Gaps(sorted.flatMap(({ node }) => this.#nodes[node] ?? []));
    const places = new Map(sorted.map(({ node }, place) => [node, place]));
    return sorted.map(({ node, group }, place): Step => {
      const { course, does } = this.#nodes[node] as Node;
      const before = does === 'add' ? undefined : course.before;
      const after = does === 'remove' ? undefined : course.after;
      const isWhole = gaps.after(course, does) && (group === undefined || sorted[place + 1]?.group !== group);
      const [was, is] = [valueOf(before), valueOf(after)];
      return {
        id: `${does}/${(course.after ?? course.before)?.id ?? ''}`,
        kind: does,
        path: course.path,
        before: was,
        after: is,
        inverse: {
          kind: does === 'add' ? 'remove' : does === 'remove' ? 'add' : 'set',
          before: is,
          after: was,
        },
        ...(group === undefined ? {} : { atomicGroup: group }),
        dependsOn: this.#realBefore(node)
          .toSorted((a, b) => (places.get(a) ?? 0) - (places.get(b) ?? 0))
          .map((each) => this.#idOf(each)),
        safePoint: isWhole || place === sorted.length - 1,
        origin: originOf(course.because ?? course.path),
      };
    });
  }

  #idOf(node: number): string {
    const { course, does } = this.#nodes[node] as Node;
    return `${does}/${(course.after ?? course.before)?.id ?? ''}`;
  }

  /** Nodes that change something and have to come before this one; what only stays is looked through. */
  #realBefore(node: number): number[] {
    const found = new Set<number>();
    const seen = new Set<number>();
    const look = [...(this.#graph.before[node] ?? [])];
    for (let each = look.pop(); each !== undefined; each = look.pop()) {
      if (seen.has(each)) continue;
      seen.add(each);
      if (this.#nodes[each]?.does === 'keep') look.push(...(this.#graph.before[each] ?? []));
      else found.add(each);
    }
    return [...found];
  }
}

function valueOf(object: DeviceObject | undefined): PlanValue {
  return object === undefined ? null : (object.value as unknown as PlanValue);
}

/** What is missing between its going and its coming: as long as anything is, no place is safe. */
class Gaps {
  readonly #open = new Set<string>();
  readonly #coming = new Map<string, number>();

  constructor(nodes: readonly Node[]) {
    for (const { course, does } of nodes)
      if (does !== 'remove')
        for (const key of keysOf(course, course.after))
          this.#coming.set(key, (this.#coming.get(key) ?? 0) + 1);
  }

  /** Takes one node as done; true where nothing is missing now. */
  after(course: Course, does: Node['does']): boolean {
    if (does !== 'remove') {
      for (const key of keysOf(course, course.after)) {
        this.#coming.set(key, (this.#coming.get(key) ?? 1) - 1);
        this.#open.delete(key);
      }
    } else {
      for (const key of keysOf(course, course.before))
        if ((this.#coming.get(key) ?? 0) > 0) this.#open.add(key);
    }
    return this.#open.size === 0;
  }
}

/** The object itself, and what only one object can have: both can be missing for a while. */
function keysOf({ path }: Course, object: DeviceObject | undefined): string[] {
  return object === undefined ? [path] : [path, ...claimsOf(object)];
}
