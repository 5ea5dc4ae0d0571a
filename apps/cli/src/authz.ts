/**
 * Policies looked at from the command line: whether a set would be taken, what it answers, whether its tests pass.
 * It must not ask an appliance.
 */
import {
  type Asking,
  askingSchema,
  compiledEngine,
  DEFAULT_AUTHORITY,
  type Explanation,
  type Fault,
  faultText,
  loadEngine,
  PolicyAuthoriser,
  type PolicySet,
  passed,
  policySourceOf,
  type PolicyTestResult,
  readPolicyTests,
  requestOf,
  runPolicyTests,
  SHIPPED_SETS,
  tryPolicies,
} from '@kedge/authz';
import { readAccordDocument } from '@kedge/bus';
import { authorityOf, parseAccords } from '@kedge/posture';
import { KedgeError } from '@kedge/units';
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join, resolve } from 'node:path';

/** Longest file of policy tests, bytes. */
const TESTS_MAX_BYTES = 16_777_216;

/** Whether a set would be taken. */
export interface PoliciesCheck {
  readonly valid: boolean;
  readonly faults: readonly Fault[];
  readonly generation: string;
  readonly policies: readonly { readonly id: string; readonly effect: string; readonly file: string }[];
}

/** Of the accords that a loosening is asked under. */
export interface AccordsFiles {
  readonly accords?: string;
  readonly zones?: string;
}

/** What one file of tests came to. */
export interface TestedFile {
  readonly file: string;
  readonly tests: readonly PolicyTestResult[];
}

const sourceOf = (policies: string) =>
  policySourceOf(Object.hasOwn(SHIPPED_SETS, policies) ? policies : resolve(policies));

/** @throws KedgeError as `tryPolicies`, but for what is wrong with the policies themselves. */
export async function checkPolicies(policies: string): Promise<PoliciesCheck> {
  const candidate = await tryPolicies(sourceOf(policies), await compiledEngine());
  if (!candidate.valid) return { valid: false, faults: candidate.faults, generation: '', policies: [] };
  const { generation, policies: found } = candidate.set;
  return {
    valid: true,
    faults: [],
    generation,
    policies: found.map(({ id, effect, file }) => ({ id, effect, file })),
  };
}

/** The findings for people. */
export function policiesCheckText({ valid, faults, generation, policies }: PoliciesCheck): string {
  return valid
    ? `valid: ${policies.length} policies, generation ${generation}`
    : faults.map((fault) => `${faultText(fault)} [AUTHZ_SET_INVALID]`).join('\n');
}

/** What a set answers, and why. @throws KedgeError as `tryPolicies`; `CLI_USAGE`, `ACCORD_…` */
export async function explainRequest(
  policies: string,
  asking: { readonly [Field in keyof Asking]?: unknown },
  { accords, zones }: AccordsFiles,
): Promise<Explanation> {
  const read = askingSchema.safeParse(asking);
  if (!read.success) {
    const [issue] = read.error.issues;
    const field = issue?.path.join('.') ?? '';
    throw usage(field, `cannot ask: ${field}: ${issue?.message ?? 'it is not what it has to be'}`);
  }
  if ((accords === undefined) !== (zones === undefined))
    throw usage('accords', 'cannot ask: accords and zones belong together, one of them is missing');
  const authority =
    accords === undefined || zones === undefined
      ? DEFAULT_AUTHORITY
      : authorityOf(
          parseAccords(readAccordDocument('accords', accords), readAccordDocument('zones', zones)).accords,
        );
  return (await authoriserOf(policies, () => authority)).explain(requestOf(read.data));
}

/** An explanation for people. */
export function explanationText({ answer, policies, asked, set }: Explanation): string {
  const lines = [
    `${answer.allow ? 'allowed' : 'denied'} by ${answer.rule}${answer.allow ? '' : `: ${answer.reason}`}`,
  ];
  if (policies.length > 1) lines.push(`also decided: ${policies.slice(1).join(', ')}`);
  lines.push(
    set === undefined ? 'no policy was asked' : `asked: the set ${set.name}, generation ${set.generation}`,
  );
  if (asked !== undefined) {
    const { needs, ...seen } = asked;
    const said = Object.entries(seen).flatMap(([name, value]) =>
      value === undefined ? [] : [`${name} ${String(value)}`],
    );
    lines.push(`policies saw: ${said.join(', ')}`);
    if (needs !== undefined)
      lines.push(
        `the accords ask for: tier ${needs.tier}, ${needs.secondFactor ? 'a' : 'no'} second factor${exits(asked)}`,
      );
  }
  return lines.join('\n');
}

const exits = ({ level, needs }: NonNullable<Explanation['asked']>): string =>
  level === 1 ? `; level 1 is left by ${needs?.channels.join(', ') ?? ''}` : '';

/** Runs the tests of a set: the files given, or every *.test.json beside its policies. @throws KedgeError `AUTHZ_TESTS` and others */
export async function testPolicies(
  policies: string,
  files: readonly string[],
): Promise<readonly TestedFile[]> {
  const source = sourceOf(policies);
  const authoriser = await authoriserOf(policies, () => DEFAULT_AUTHORITY);
  const found =
    files.length > 0 || source.directory === undefined
      ? files
      : readdirSync(source.directory)
          .filter((name) => name.endsWith('.test.json'))
          .sort()
          .map((name) => join(source.directory ?? '', name));
  if (found.length === 0)
    throw new KedgeError({
      code: 'AUTHZ_TESTS',
      message: `there are no tests of the policies of ${policies}`,
      expected: 'files NAME.test.json beside the policies, or named on the command line',
    });
  return found.map((file) => ({
    file,
    tests: runPolicyTests(readPolicyTests(file, testText(file)), authoriser),
  }));
}

/** What the tests came to, for people; the last line counts. */
export function testedText(files: readonly TestedFile[]): string {
  const failed = files.flatMap(({ file, tests }) =>
    tests
      .filter(({ passed: good }) => !good)
      .map(
        ({ name, allow, by, reason }) =>
          `failed: ${file}: ${name}: ${allow ? 'allowed' : 'denied'} by ${by}${reason === '' ? '' : `: ${reason}`}`,
      ),
  );
  const all = files.reduce((sum, { tests }) => sum + tests.length, 0);
  return [...failed, `${all - failed.length} passed, ${failed.length} failed`].join('\n');
}

async function authoriserOf(
  policies: string,
  authority: () => typeof DEFAULT_AUTHORITY,
): Promise<PolicyAuthoriser> {
  const source = sourceOf(policies);
  const set: PolicySet = passed(source.name, await tryPolicies(source, await compiledEngine()));
  loadEngine();
  const authoriser = new PolicyAuthoriser({ authority });
  authoriser.use(set);
  return authoriser;
}

function testText(file: string): string {
  try {
    if (!statSync(file).isFile() || statSync(file).size > TESTS_MAX_BYTES)
      throw new Error(`expected a file of at most ${TESTS_MAX_BYTES} bytes`);
    return readFileSync(file, 'utf8');
  } catch (cause) {
    throw new KedgeError({ code: 'AUTHZ_TESTS', message: `cannot read the policy tests of ${file}`, cause });
  }
}

function usage(field: string, message: string): KedgeError {
  return new KedgeError({
    code: 'CLI_USAGE',
    message,
    field,
    help: 'kedge authz explain --help tells what can be asked',
  });
}
