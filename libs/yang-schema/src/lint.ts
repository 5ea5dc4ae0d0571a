/**
 * The lint of the project's modules: what RFC 8407 recommends and libyang does not ask for, and rules of this house.
 * It must not repeat what libyang refuses; every module is compiled as well.
 */
import { argumentOf, childOf, type Statement, statementsOf, walk } from './statements.js';

/** Something that a rule does not allow. */
export interface LintFault {
  /** The rule, by its name in {@link RULES}. */
  readonly rule: RuleName;
  readonly module: string;
  readonly line: number;
  /** What is wrong there, in words. */
  readonly what: string;
}

/** A module as the lint takes it. */
export interface LintedModule {
  /** The name of its file without `.yang`. */
  readonly name: string;
  readonly text: string;
}

/** A deviation that was decided: a rule, where, and why. */
export interface Exemption {
  readonly rule: RuleName;
  readonly module: string;
  /** The argument of the statement at fault. */
  readonly argument: string;
  readonly why: string;
}

const NODES = ['container', 'list', 'leaf', 'leaf-list', 'choice', 'case', 'anydata', 'anyxml'];
const DESCRIBED = [
  ...[...NODES, 'module', 'revision', 'typedef', 'grouping', 'identity', 'feature', 'extension'],
  ...['enum', 'bit', 'augment', 'rpc', 'action', 'notification', 'must', 'when', 'deviation'],
];
const NAMED = [...NODES, 'module', 'typedef', 'grouping', 'identity', 'feature', 'enum', 'bit'];
const DATES = /^\d{4}-\d{2}-\d{2}$/;
const TIMES = /(^|-)(interval|timeout|time|age|delay|latency|jitter|mtu|loss|keepalive|uptime)$/;
const NUMBERS = /^(u?int(8|16|32|64)|decimal64)$/;
/** The order of statements in a module (RFC 7950 §14, `module-stmt`). */
const SECTIONS: readonly (readonly string[])[] = [
  ['yang-version', 'namespace', 'prefix'],
  ['import', 'include'],
  ['organization', 'contact', 'description', 'reference'],
  ['revision'],
];

interface Subject {
  readonly name: string;
  readonly module: Statement;
  readonly text: string;
  /** Every statement with what it stands in. */
  readonly all: readonly { readonly statement: Statement; readonly within: readonly Statement[] }[];
}

type Found = { readonly at: Statement; readonly what: string };

function of(subject: Subject, ...keywords: string[]): Statement[] {
  return subject.all.flatMap(({ statement }) => (keywords.includes(statement.keyword) ? [statement] : []));
}

function missing(subject: Subject, keywords: readonly string[], needed: string): Found[] {
  return of(subject, ...keywords)
    .filter((statement) => (argumentOf(statement, needed) ?? '').trim() === '')
    .map((at) => ({ at, what: `${at.keyword} ${at.argument ?? ''} has no ${needed}` }));
}

/** XPath and paths of a module, with the statement that each stands in. */
function paths(subject: Subject): { at: Statement; text: string }[] {
  return of(subject, 'must', 'when', 'path', 'augment').map((at) => ({ at, text: at.argument ?? '' }));
}

/** Prefixes that a module uses in types, bases, paths and extensions. */
function usedPrefixes(subject: Subject): Set<string> {
  const texts = subject.all.flatMap(({ statement: { keyword, argument = '' } }) => {
    if (['type', 'base', 'uses', 'if-feature', 'default'].includes(keyword)) return [argument];
    if (['must', 'when', 'path', 'augment', 'deviation', 'refine'].includes(keyword)) return [argument];
    return keyword.includes(':') ? [keyword] : [];
  });
  return new Set(
    texts.flatMap((text) =>
      [...text.matchAll(/([A-Za-z_][\w.-]*):[A-Za-z_]/g)].map(([, prefix = '']) => prefix),
    ),
  );
}

/** Names of this module's definitions that something in it or in another module refers to. */
function references(subjects: readonly Subject[], keyword: string, subject: Subject): Set<string> {
  const used = new Set<string>();
  for (const other of subjects) {
    const prefix =
      other === subject
        ? argumentOf(subject.module, 'prefix')
        : argumentOf(
            other.module.children.find(
              (child) => child.keyword === 'import' && child.argument === subject.name,
            ) ?? other.module,
            'prefix',
          );
    for (const { argument = '' } of of(other, keyword))
      if (argument.startsWith(`${prefix ?? ''}:`)) used.add(argument.slice((prefix ?? '').length + 1));
      else if (other === subject && !argument.includes(':')) used.add(argument);
  }
  return used;
}

function unused(subjects: readonly Subject[], subject: Subject, keyword: string, by: string): Found[] {
  const used = references(subjects, by, subject);
  return of(subject, keyword)
    .filter(({ argument = '' }) => !used.has(argument))
    .map((at) => ({ at, what: `${keyword} ${at.argument ?? ''} is used nowhere` }));
}

/** Each rule: what it asks for, and what in a module does not answer. */
const CHECKS = {
  'named-as-its-file': (subject) =>
    subject.module.keyword === 'module' && subject.module.argument === subject.name
      ? []
      : [
          {
            at: subject.module,
            what: `${subject.name}.yang holds ${subject.module.argument ?? 'no module'}`,
          },
        ],
  'one-namespace': (subject) => {
    const wanted = `urn:kedge:yang:${subject.name}`;
    return argumentOf(subject.module, 'namespace') === wanted
      ? []
      : [{ at: subject.module, what: `the namespace is not ${wanted}` }];
  },
  'yang-1.1': (subject) =>
    argumentOf(subject.module, 'yang-version') === '1.1'
      ? []
      : [{ at: subject.module, what: 'yang-version is not 1.1' }],
  'prefix-of-its-own': (subject, subjects) => {
    const prefix = argumentOf(subject.module, 'prefix');
    const taken = subjects.some(
      (other) => other !== subject && argumentOf(other.module, 'prefix') === prefix && prefix !== undefined,
    );
    return taken ? [{ at: subject.module, what: `another module has the prefix ${prefix ?? ''} too` }] : [];
  },
  'same-prefix-everywhere': (subject, subjects) =>
    of(subject, 'import').flatMap((at) => {
      const own = subjects.find(({ name }) => name === at.argument);
      const wanted = own === undefined ? undefined : argumentOf(own.module, 'prefix');
      return wanted === undefined || wanted === argumentOf(at, 'prefix')
        ? []
        : [{ at, what: `${at.argument ?? ''} is imported as another prefix than its own` }];
    }),
  'told-whose-it-is': (subject) =>
    ['organization', 'contact', 'reference'].flatMap((needed) => missing(subject, ['module'], needed)),
  'revisions-newest-first': (subject) => {
    const revisions = subject.module.children.filter(({ keyword }) => keyword === 'revision');
    const dates = revisions.map(({ argument = '' }) => argument);
    if (dates.length === 0) return [{ at: subject.module, what: 'there is no revision' }];
    return revisions.flatMap((at, index): Found[] => {
      const date = at.argument ?? '';
      if (!DATES.test(date)) return [{ at, what: `${date} is no date` }];
      return index > 0 && date >= (dates[index - 1] ?? '') ? [{ at, what: `${date} is not older` }] : [];
    });
  },
  described: (subject) => missing(subject, DESCRIBED, 'description'),
  referenced: (subject) => missing(subject, ['revision', 'import'], 'reference'),
  'must-says-why': (subject) => missing(subject, ['must'], 'error-message'),
  'kebab-case': (subject) =>
    of(subject, ...NAMED)
      .filter(({ argument = '' }) => !/^[a-z][a-z0-9]*(-[a-z0-9]+)*$/.test(argument) || argument.length > 40)
      .map((at) => ({ at, what: `${at.keyword} ${at.argument ?? ''} is not in kebab-case, or long` })),
  'prefix-short': (subject) =>
    of(subject, 'prefix')
      .filter(({ argument = '' }) => !/^[a-z][a-z0-9]{1,9}$/.test(argument))
      .map((at) => ({ at, what: `${at.argument ?? ''} is no prefix of 2 to 10 letters` })),
  'imports-used': (subject) => {
    const used = usedPrefixes(subject);
    return of(subject, 'import')
      .filter((at) => !used.has(argumentOf(at, 'prefix') ?? ''))
      .map((at) => ({ at, what: `${at.argument ?? ''} is imported for nothing` }));
  },
  'typedefs-used': (subject, subjects) => unused(subjects, subject, 'typedef', 'type'),
  'groupings-used': (subject, subjects) => unused(subjects, subject, 'grouping', 'uses'),
  'features-used': (subject, subjects) => unused(subjects, subject, 'feature', 'if-feature'),
  'identities-hang-together': (subject, subjects) => {
    const bases = references(subjects, 'base', subject);
    return of(subject, 'identity')
      .filter((at) => childOf(at, 'base') === undefined && !bases.has(at.argument ?? ''))
      .map((at) => ({ at, what: `nothing derives from identity ${at.argument ?? ''}` }));
  },
  'config-said-where-it-changes': (subject) =>
    subject.all
      .filter(({ statement }) => statement.keyword === 'config')
      .flatMap(({ statement: at, within }): Found[] => {
        if (at.argument === 'true') return [{ at, what: 'config true is what holds anyway' }];
        const above = within.slice(0, -1).some((outer) => argumentOf(outer, 'config') === 'false');
        return above ? [{ at, what: 'config false is said above already' }] : [];
      }),
  'state-has-no-default': (subject) =>
    subject.all
      .filter(({ statement, within }) => {
        const state = [...within, statement].some((outer) => argumentOf(outer, 'config') === 'false');
        return state && NODES.includes(statement.keyword) && childOf(statement, 'default') !== undefined;
      })
      .map(({ statement: at }) => ({ at, what: `state ${at.argument ?? ''} has a default` })),
  'nothing-mandatory-at-the-top': (subject) =>
    subject.module.children
      .filter(({ keyword }) => NODES.includes(keyword))
      .flatMap((top) =>
        needs(top) ? [{ at: top, what: `${top.argument ?? ''} has to be in every tree` }] : [],
      ),
  'text-bounded': (subject) =>
    subject.all
      .filter(({ statement, within }) => {
        const state = [...within, statement].some((outer) => argumentOf(outer, 'config') === 'false');
        return statement.keyword === 'type' && statement.argument === 'string' && !state;
      })
      .filter(({ statement }) => !['length', 'pattern'].some((one) => childOf(statement, one) !== undefined))
      .map(({ statement: at, within }) => ({
        at,
        what: `the text of ${within.at(-1)?.argument ?? ''} has neither length nor pattern`,
      })),
  'units-of-measures': (subject) =>
    of(subject, 'leaf', 'leaf-list')
      .filter((at) => TIMES.test(at.argument ?? '') && NUMBERS.test(argumentOf(at, 'type') ?? ''))
      .filter((at) => childOf(at, 'units') === undefined)
      .map((at) => ({ at, what: `${at.argument ?? ''} has no units` })),
  'ranges-of-numbers': (subject) =>
    subject.all
      .filter(({ statement, within }) => {
        const state = [...within, statement].some((outer) => argumentOf(outer, 'config') === 'false');
        return statement.keyword === 'type' && NUMBERS.test(statement.argument ?? '') && !state;
      })
      .filter(({ statement }) => childOf(statement, 'range') === undefined)
      .map(({ statement: at, within }) => ({ at, what: `${within.at(-1)?.argument ?? ''} has no range` })),
  'no-anyxml': (subject) =>
    of(subject, 'anyxml').map((at) => ({ at, what: `${at.argument ?? ''} could be anything: use anydata` })),
  'paths-name-what-they-mean': (subject) =>
    paths(subject)
      .filter(({ text }) => /(^|[^.])\/\/|\/\*|::/.test(text))
      .map(({ at }) => ({ at, what: 'a path with //, * or an axis' })),
  'absolute-paths-prefixed': (subject) =>
    paths(subject)
      .filter(({ text }) => /(^|[\s(=|])\/(?![a-z][a-z0-9]*:)/.test(text.replace(/'[^']*'/g, "''")))
      .map(({ at }) => ({ at, what: 'an absolute path whose first step has no prefix' })),
  'looked-up-not-searched': (subject) =>
    paths(subject)
      .filter(({ text }) => /\[[^\]]*current\(\)/.test(text.replace(/deref\([^)]*\)\S*(\[[^\]]*\])?/g, '')))
      .map(({ at }) => ({ at, what: 'libyang searches all entries for each one: use deref()' })),
  'sections-in-order': (subject) => {
    let reached = 0;
    return subject.module.children.flatMap((at): Found[] => {
      const section = SECTIONS.findIndex((keywords) => keywords.includes(at.keyword));
      const rank = section === -1 ? SECTIONS.length : section;
      if (rank < reached) return [{ at, what: `${at.keyword} stands too late` }];
      reached = rank;
      return [];
    });
  },
  indented: (subject) =>
    subject.all
      .filter(({ statement, within }) => statement.column !== 2 * within.length + 1)
      .map(({ statement: at, within }) => ({
        at,
        what: `${at.keyword} stands in column ${String(at.column)} instead of ${String(2 * within.length + 1)}`,
      })),
  'lines-of-80': (subject) =>
    subject.text.split('\n').flatMap((line, index): Found[] => {
      const at = { ...subject.module, line: index + 1 };
      if (line.length > 80) return [{ at, what: 'a line of more than 80 characters' }];
      return /\t|\s$/.test(line) ? [{ at, what: 'a tab, or blanks at the end of a line' }] : [];
    }),
} as const satisfies Readonly<Record<string, (subject: Subject, all: readonly Subject[]) => Found[]>>;

/** The name of a rule. */
export type RuleName = keyof typeof CHECKS;

/** The names of all rules. */
export const RULES = Object.keys(CHECKS) as readonly RuleName[];

/** True where a document without this node, or what it has to hold, is wrong. */
function needs(node: Statement): boolean {
  if (argumentOf(node, 'config') === 'false' || childOf(node, 'when') !== undefined) return false;
  if (argumentOf(node, 'mandatory') === 'true') return true;
  if (Number(argumentOf(node, 'min-elements') ?? '0') > 0) return true;
  if (node.keyword !== 'container' || childOf(node, 'presence') !== undefined) return false;
  return node.children.some((child) => needs(child));
}

/**
 * What the rules do not allow in these modules, in order of module and line. They are looked at together: a typedef
 * may be used by another module alone.
 *
 * @param exemptions deviations that were decided. One that nothing needs any more is a fault itself, so that the
 *   list does not outlive its reasons.
 * @throws KedgeError `SCHEMA_SYNTAX` when a module cannot be read
 */
export function lintFaults(
  modules: readonly LintedModule[],
  exemptions: readonly Exemption[] = [],
): LintFault[] {
  const subjects = modules.map(({ name, text }): Subject => {
    const [module = { keyword: 'none', line: 1, column: 1, children: [] }] = statementsOf(text, name);
    return { name, module, text, all: [...walk(module)] };
  });
  const spent = new Set<Exemption>();
  const faults = subjects.flatMap((subject) =>
    RULES.flatMap((rule) =>
      CHECKS[rule](subject, subjects).flatMap(({ at, what }): LintFault[] => {
        const exempt = exemptions.find(
          (one) => one.rule === rule && one.module === subject.name && one.argument === at.argument,
        );
        if (exempt !== undefined) spent.add(exempt);
        return exempt === undefined ? [{ rule, module: subject.name, line: at.line, what }] : [];
      }),
    ),
  );
  const idle = exemptions.filter((one) => !spent.has(one));
  return [
    ...faults.sort((a, b) => a.module.localeCompare(b.module, 'en') || a.line - b.line),
    ...idle.map(({ rule, module, argument }) => ({
      rule,
      module,
      line: 1,
      what: `the exemption of ${argument} is needed no more`,
    })),
  ];
}
