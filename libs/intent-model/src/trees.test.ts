/**
 * Holds words that stand in a module and in a contract against each other. Must not repeat what a module says.
 */
import type { DriftEvent, Plan } from '@kedge/contracts';
import { DRIFT_SEVERITIES } from '@kedge/contracts';
import { describe, expect, expectTypeOf, it } from 'vitest';

import type { operationsTree } from './index.js';
import { planData } from './index.js';

describe('the words of drift and plans', () => {
  it('UN-2 are those of the records, one by one; another one does not compile', () => {
    expectTypeOf<operationsTree.DriftDifference['severity']>().toEqualTypeOf<DriftEvent['severity']>();
    expectTypeOf<operationsTree.DriftDifference['cause']>().toEqualTypeOf<DriftEvent['cause']>();
    expectTypeOf<operationsTree.DriftDifference['remediation']>().toEqualTypeOf<DriftEvent['remediation']>();
    expectTypeOf(planData).parameters.toEqualTypeOf<[Plan]>();
    expectTypeOf(planData).returns.toEqualTypeOf<operationsTree.Plan>();
    // The types are gone when this runs; the list that they come from is not.
    const severities: readonly operationsTree.DriftDifference['severity'][] = DRIFT_SEVERITIES;
    expect(severities).toEqual(['info', 'minor', 'major', 'critical']);
  });
});
