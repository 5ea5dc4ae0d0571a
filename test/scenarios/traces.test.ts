/**
 * The trace of one transition of a lab, joined from what every service said by itself.
 * Must not know how spans are sent; libs/runtime has tests of that.
 */
import { type Lab, labDown, labUp, PATIENT_BUDGETS } from '@kedge/lab';
import { readFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { kedgeJson } from './run-command.js';

const NAME = 'traced';
const SERVICES = ['overlay', 'posture-coordinator', 'underlay', 'vpp-bridge'];
/** Services turn moments into wall time by themselves: while one does the clock may be slewed. */
const SLEWED_NS = 1_000_000n;

interface SpanJson {
  readonly service: string;
  readonly traceId: string;
  readonly spanId: string;
  readonly parentSpanId?: string;
  readonly name: string;
  readonly startTimeUnixNano: string;
  readonly endTimeUnixNano: string;
}
interface RequestJson {
  readonly resourceSpans: readonly {
    readonly resource: { readonly attributes: readonly { key: string; value: { stringValue: string } }[] };
    readonly scopeSpans: readonly { readonly spans: readonly Omit<SpanJson, 'service'>[] }[];
  }[];
}

let lab: Lab;

function spans(): readonly SpanJson[] {
  return SERVICES.flatMap((service) => {
    let text: string;
    try {
      text = readFileSync(lab.reach(`/run/kedge/state/${service}/spans.jsonl`), 'utf8');
    } catch {
      return [];
    }
    return text
      .split('\n')
      .filter((line) => line !== '')
      .flatMap((line) => (JSON.parse(line) as RequestJson).resourceSpans)
      .flatMap(({ resource, scopeSpans }) => {
        const name = resource.attributes.find(({ key }) => key === 'service.name')?.value.stringValue ?? '';
        return scopeSpans.flatMap((scope) => scope.spans.map((span) => ({ service: name, ...span })));
      });
  });
}

describe('the trace of a transition', () => {
  beforeAll(async () => {
    lab = await labUp({ name: NAME, budgets: PATIENT_BUDGETS });
  }, 120_000);
  afterAll(async () => {
    await labDown(NAME);
  }, 60_000);

  it.each([2, 5])('FW-7 is one tree of what every service did, going to level %i', async (level) => {
    const set = ['posture', 'set', String(level), '--reason', 'a test wants it', '--wait', '--as', 'console'];
    const { epoch } = await kedgeJson<{ epoch: string }>([...set, '--lab', NAME]);
    const id = BigInt(epoch).toString(16).padStart(12, '0');
    const tree = () => spans().filter(({ traceId }) => traceId.endsWith(id));
    await expect
      .poll(() => [...new Set(tree().map(({ service }) => service))].sort(), { timeout: 10_000 })
      .toEqual(SERVICES);
    const all = tree();
    expect(new Set(all.map(({ traceId }) => traceId)).size).toBe(1);
    expect(new Set(all.map(({ spanId }) => spanId)).size).toBe(all.length);
    expect(all.filter(({ parentSpanId }) => parentSpanId === undefined).map(({ name }) => name)).toEqual([
      'transition',
    ]);
    const names = all.map(({ name }) => name);
    for (const name of ['store', 'journal', 'dataplane', 'overlay', 'underlay', 'verify'])
      expect(names).toContain(name);
    expect(names.filter((name) => name.startsWith('worker reference/')).length).toBeGreaterThanOrEqual(1);
    let joined = 0;
    for (const child of all) {
      if (child.parentSpanId === undefined) continue;
      const parent = all.find(({ spanId }) => spanId === child.parentSpanId);
      expect(parent, `the parent of ${child.name}`).toBeDefined();
      if (parent === undefined) continue;
      joined += 1;
      const early = BigInt(parent.startTimeUnixNano) - BigInt(child.startTimeUnixNano);
      const late = BigInt(child.endTimeUnixNano) - BigInt(parent.endTimeUnixNano);
      expect(
        early < SLEWED_NS && late < SLEWED_NS,
        `${child.name} within ${parent.name}: ${early}, ${late}`,
      ).toBe(true);
      expect(BigInt(child.endTimeUnixNano)).toBeGreaterThanOrEqual(BigInt(child.startTimeUnixNano));
    }
    expect(joined).toBeGreaterThanOrEqual(9);
  });
});
