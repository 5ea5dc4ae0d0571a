/**
 * Tests of policies, out of files that stand beside them: who asks for what, and what has to be answered by which policy.
 * It must not decide anything itself.
 */
import { KedgeError } from '@kedge/units';
import { z } from 'zod';

import { askingSchema, requestOf } from './asking.js';
import type { PolicyAuthoriser } from './policy-authoriser.js';

const TESTS_MAX = 10_000;

const testsSchema = z.strictObject({
  tests: z
    .array(
      z.strictObject({
        /** A sentence. */
        name: z.string().min(1).max(256),
        ask: askingSchema,
        expect: z.strictObject({
          allow: z.boolean(),
          /** The policy, or the built-in rule, that has to be named; absent = any. */
          by: z.string().min(1).max(64).optional(),
        }),
      }),
    )
    .min(1)
    .max(TESTS_MAX),
});

/** Tests as they stand in a file. */
export type PolicyTests = z.output<typeof testsSchema>;

/** What became of one test. */
export interface PolicyTestResult {
  readonly name: string;
  readonly passed: boolean;
  readonly allow: boolean;
  /** The rule that the answer names. */
  readonly by: string;
  /** Why it was not allowed; empty where it was. */
  readonly reason: string;
}

/** @throws KedgeError `AUTHZ_TESTS`, which names the field at fault. */
export function readPolicyTests(file: string, text: string): PolicyTests {
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (cause) {
    throw new KedgeError({
      code: 'AUTHZ_TESTS',
      message: `cannot read the policy tests of ${file}: they are no JSON`,
      cause,
    });
  }
  const read = testsSchema.safeParse(json);
  if (read.success) return read.data;
  const [issue] = read.error.issues;
  throw new KedgeError({
    code: 'AUTHZ_TESTS',
    message: `cannot read the policy tests of ${file}: ${issue?.message ?? 'they are not what they have to be'}`,
    field: issue?.path.join('.') ?? '',
    expected: '{ "tests": [ { "name", "ask", "expect" } ] } as docs/authorisation.md says',
  });
}

/** Asks every test's question. */
export function runPolicyTests(
  { tests }: PolicyTests,
  authoriser: Pick<PolicyAuthoriser, 'explain'>,
): readonly PolicyTestResult[] {
  return tests.map(({ name, ask, expect }) => {
    const { answer } = authoriser.explain(requestOf(ask));
    const { allow, rule: by } = answer;
    return {
      name,
      passed: allow === expect.allow && (expect.by === undefined || expect.by === by),
      allow,
      by,
      reason: answer.allow ? '' : answer.reason,
    };
  });
}
