/**
 * What an accord says about overlay and underlay: which of Kedge's routes there are, whether policy rules protect,
 * what the gate before every write does; and when one level is looser in that than the level above it.
 * It must not know routes or devices, only what the level allows of them.
 */
import { DRIFT_SEVERITIES, type DriftEvent, type Tier, TIERS } from '@kedge/contracts';
import type { Level } from '@kedge/units';
import { z } from 'zod';

import { keyedList, leafList, type PlainFault } from './zones.js';

/** What a route is for. A route has exactly one purpose. */
export const ROUTE_PURPOSES = ['ordinary', 'management', 'incident-response', 'monitoring'] as const;
/** See {@link ROUTE_PURPOSES}. */
export type RoutePurpose = (typeof ROUTE_PURPOSES)[number];

/** Through the mesh, or in the physical network (OV-17). A route has exactly one mode. */
export const ROUTE_MODES = ['overlay', 'underlay'] as const;
/** See {@link ROUTE_MODES}. */
export type RouteMode = (typeof ROUTE_MODES)[number];

/** Control protocols of the appliance that can be exempt from the policy rules (OV-15). */
export const EXEMPT_PROTOCOLS = ['bgp', 'bfd', 'dhcp'] as const;
/** See {@link EXEMPT_PROTOCOLS}. */
export type ExemptProtocol = (typeof EXEMPT_PROTOCOLS)[number];

/** What the gate before every write does, from tightest to loosest. */
export const GATE_MODES = ['frozen', 'emergency-only', 'tiers', 'open'] as const;
/** See {@link GATE_MODES}. */
export type GateMode = (typeof GATE_MODES)[number];

/** What is done about a difference between a device and intent, from tightest to loosest (UN-7). */
export const REMEDIATIONS = ['none', 'proposed', 'automatic'] as const;
/** See {@link REMEDIATIONS}. */
export type Remediation = (typeof REMEDIATIONS)[number];
/** How bad a difference is. */
export type DriftSeverity = DriftEvent['severity'];

/** Seconds from one pass over a device to the next where an accord does not say. */
export const DRIFT_INTERVAL_S = 60;

/** How the actual state of devices is held against intent (UN-6, UN-7). */
export interface DriftAccord {
  /** Seconds from one pass over a device to the next, 10 to 86400. */
  readonly intervalS: number;
  /** What is done about differences of a severity; nothing about one that is not named. */
  readonly remedies: Readonly<Partial<Record<DriftSeverity, Remediation>>>;
}

/** Which routes of one mode there are. */
export interface RouteScope {
  /** None without a purpose. */
  readonly purposes: readonly RoutePurpose[];
  /** The least trusted tier whose routes there are. */
  readonly minimumTier: Tier;
}

/** What a level allows of the overlay. */
export interface OverlayAccord {
  readonly routes: Readonly<Record<RouteMode, RouteScope>> & {
    /** Whether policy rules prohibit every destination that no route of Kedge leads to. */
    readonly protect: boolean;
    /** What passes although `protect` is set; empty without it. */
    readonly exempt: readonly ExemptProtocol[];
  };
}

/** What a level allows of the underlay. */
export interface UnderlayAccord {
  readonly gate: GateMode;
  /** The least trusted tier that executes; given exactly for `tiers` and `emergency-only`. */
  readonly executeTier?: Tier;
  /** The least trusted tier that may propose; given exactly for `tiers`. */
  readonly proposeTier?: Tier;
  /** Absent: a pass every {@link DRIFT_INTERVAL_S} seconds, and nothing is remedied. */
  readonly drift?: DriftAccord;
}

const tierSchema = z.enum(TIERS);

const scopeSchema = z
  .strictObject({
    purpose: leafList(z.enum(ROUTE_PURPOSES), ROUTE_PURPOSES.length, (purpose) => purpose).optional(),
    'minimum-tier': tierSchema.optional(),
  })
  .optional();

/** `container overlay` of a level. */
export const overlaySchema = z.strictObject({
  routes: z.strictObject({
    protect: z.boolean(),
    exempt: leafList(z.enum(EXEMPT_PROTOCOLS), EXEMPT_PROTOCOLS.length, (protocol) => protocol).optional(),
    'overlay-mode': scopeSchema,
    'underlay-mode': scopeSchema,
  }),
});

/** `container underlay` of a level. */
export const underlaySchema = z.strictObject({
  gate: z.strictObject({
    mode: z.enum(GATE_MODES),
    'execute-tier': tierSchema.optional(),
    'propose-tier': tierSchema.optional(),
  }),
  drift: z
    .strictObject({
      interval: z
        .int('expected seconds')
        .min(10, 'expected 10 to 86400 seconds')
        .max(86400, 'expected 10 to 86400 seconds')
        .optional(),
      remedy: keyedList(
        z.strictObject({ severity: z.enum(DRIFT_SEVERITIES), remediation: z.enum(REMEDIATIONS) }),
        DRIFT_SEVERITIES.length,
        ({ severity }) => severity,
      ).optional(),
    })
    .optional(),
});

const EXECUTES: readonly GateMode[] = ['tiers', 'emergency-only'];
const PROPOSES: readonly GateMode[] = ['tiers'];
const REMEDIES: readonly GateMode[] = ['tiers', 'open'];

/** What YANG's `when` and `mandatory` say about the two containers of a level; paths start at the level. */
export function pathsFaults(
  overlay: z.output<typeof overlaySchema>,
  underlay: z.output<typeof underlaySchema>,
): PlainFault[] {
  const faults: PlainFault[] = [];
  const { protect, exempt } = overlay.routes;
  if (!protect && exempt !== undefined && exempt.length > 0)
    faults.push({
      path: ['overlay', 'routes', 'exempt', 0],
      message: 'expected none without protect, everything passes then',
    });
  const { gate } = underlay;
  for (const [leaf, modes] of [
    ['execute-tier', EXECUTES],
    ['propose-tier', PROPOSES],
  ] as const) {
    const given = gate[leaf] !== undefined;
    if (given === modes.includes(gate.mode)) continue;
    faults.push({
      path: ['underlay', 'gate', leaf],
      message: given
        ? `expected none where the gate is ${gate.mode}`
        : `expected a tier where the gate is ${gate.mode}`,
    });
  }
  for (const [index, { remediation }] of (underlay.drift?.remedy ?? []).entries())
    if (remediation !== 'none' && !REMEDIES.includes(gate.mode))
      faults.push({
        path: ['underlay', 'drift', 'remedy', index, 'remediation'],
        message: `expected none where the gate is ${gate.mode}, it lets no such plan through`,
      });
  return faults;
}

function scopeOf(scope: z.output<typeof scopeSchema>): RouteScope {
  return { purposes: scope?.purpose ?? [], minimumTier: scope?.['minimum-tier'] ?? TIERS[0] };
}

/** The typed overlay statement of a level. */
export function overlayOf({ routes }: z.output<typeof overlaySchema>): OverlayAccord {
  return {
    routes: {
      protect: routes.protect,
      exempt: routes.exempt ?? [],
      overlay: scopeOf(routes['overlay-mode']),
      underlay: scopeOf(routes['underlay-mode']),
    },
  };
}

/** The typed underlay statement of a level. */
export function underlayOf({ gate, drift }: z.output<typeof underlaySchema>): UnderlayAccord {
  return {
    gate: gate.mode,
    ...(gate['execute-tier'] === undefined ? {} : { executeTier: gate['execute-tier'] }),
    ...(gate['propose-tier'] === undefined ? {} : { proposeTier: gate['propose-tier'] }),
    ...(drift === undefined
      ? {}
      : {
          drift: {
            intervalS: drift.interval ?? DRIFT_INTERVAL_S,
            remedies: Object.fromEntries(
              (drift.remedy ?? []).map(({ severity, remediation }) => [severity, remediation]),
            ),
          },
        }),
  };
}

/** What is done about a difference of a severity. `automatic` and `proposed` still pass the gate like any plan. */
export function remediationOf({ drift }: UnderlayAccord, severity: DriftSeverity): Remediation {
  return drift?.remedies[severity] ?? 'none';
}

/** True when `tier` is trusted at least as much as `least`. */
export function isTrustedAs(tier: Tier, least: Tier): boolean {
  return TIERS.indexOf(tier) <= TIERS.indexOf(least);
}

/** True when the level allows routes of this mode, purpose and tier. */
export function allowsRoute(
  overlay: OverlayAccord,
  route: { readonly mode: RouteMode; readonly purpose: RoutePurpose; readonly tier: Tier },
): boolean {
  const scope = overlay.routes[route.mode];
  return scope.purposes.includes(route.purpose) && isTrustedAs(route.tier, scope.minimumTier);
}

/** What the gate does with a mutation, from tightest to loosest. */
export const GATE_ANSWERS = ['refuse', 'propose', 'execute'] as const;
/** See {@link GATE_ANSWERS}. */
export type GateAnswer = (typeof GATE_ANSWERS)[number];

/**
 * What the gate does with a mutation of a tier and kind. `execute` still needs the authorisation that every
 * mutation needs; an emergency change has to be one that was approved beforehand (UN-16).
 */
export function gateAnswer(
  { gate, executeTier, proposeTier }: UnderlayAccord,
  { tier, kind }: { readonly tier: Tier; readonly kind: 'ordinary' | 'emergency' },
): GateAnswer {
  const executes = executeTier !== undefined && isTrustedAs(tier, executeTier);
  switch (gate) {
    case 'open':
      return 'execute';
    case 'tiers':
      if (executes) return 'execute';
      return proposeTier !== undefined && isTrustedAs(tier, proposeTier) ? 'propose' : 'refuse';
    case 'emergency-only':
      return kind === 'emergency' && executes ? 'execute' : 'refuse';
    case 'frozen':
      return 'refuse';
  }
}

/** The statements of one level about changes: of the overlay, of the underlay, and without a record. */
export interface PathsAccord {
  /** Whether changes go on while no record of them can be kept (LE-5); absent = they are refused. */
  readonly unrecordedChanges?: true;
  readonly overlay: OverlayAccord;
  readonly underlay: UnderlayAccord;
}

/** Something that the lower level allows and the upper one does not; `place` is relative to the level. */
export interface PathsLoosening {
  readonly place: string;
  readonly what: string;
  readonly lower: string;
  readonly upper: string;
}

/**
 * Where `lower` is looser than `upper`: every mode, purpose and tier of a route, every control protocol, every
 * tier and kind of mutation, every severity of drift is looked at, so the answer is exact.
 */
export function pathsLoosenings(lower: PathsAccord, upper: PathsAccord): PathsLoosening[] {
  const found: PathsLoosening[] = [];
  for (const mode of ROUTE_MODES)
    for (const purpose of ROUTE_PURPOSES)
      for (const tier of TIERS) {
        const route = { mode, purpose, tier };
        if (allowsRoute(lower.overlay, route) && !allowsRoute(upper.overlay, route))
          found.push({
            place: `/overlay/routes/${mode}-mode`,
            what: `a ${mode} route for ${purpose} of tier ${tier}`,
            lower: 'allowed',
            upper: 'not allowed',
          });
      }
  const [below, above] = [lower.overlay.routes, upper.overlay.routes];
  if (above.protect && !below.protect)
    found.push({
      place: '/overlay/routes/protect',
      what: 'what no route of Kedge leads to',
      lower: 'open',
      upper: 'prohibited',
    });
  for (const protocol of EXEMPT_PROTOCOLS)
    if (below.exempt.includes(protocol) && above.protect && !above.exempt.includes(protocol))
      found.push({
        place: `/overlay/routes/exempt[.='${protocol}']`,
        what: protocol,
        lower: 'exempt',
        upper: 'not exempt',
      });
  for (const tier of TIERS)
    for (const kind of ['ordinary', 'emergency'] as const) {
      const [a, b] = [gateAnswer(lower.underlay, { tier, kind }), gateAnswer(upper.underlay, { tier, kind })];
      if (GATE_ANSWERS.indexOf(a) > GATE_ANSWERS.indexOf(b))
        found.push({
          place: '/underlay/gate/mode',
          what: `an ${kind} mutation of tier ${tier}`,
          lower: GATE_DONE[a],
          upper: GATE_DONE[b],
        });
    }
  for (const severity of DRIFT_SEVERITIES) {
    const [a, b] = [remediationOf(lower.underlay, severity), remediationOf(upper.underlay, severity)];
    if (REMEDIATIONS.indexOf(a) > REMEDIATIONS.indexOf(b))
      found.push({
        place: '/underlay/drift',
        what: `the remediation of a ${severity} difference`,
        lower: a,
        upper: b,
      });
  }
  if (lower.unrecordedChanges === true && upper.unrecordedChanges !== true)
    found.push({
      place: '/unrecorded-changes',
      what: 'a change that cannot be recorded',
      lower: 'made',
      upper: 'refused',
    });
  return found;
}

const GATE_DONE: Readonly<Record<GateAnswer, string>> = {
  refuse: 'refused',
  propose: 'only proposed',
  execute: 'executed',
};

/** Nothing allowed: what is in force where no accord can be read. */
export const NOTHING_ALLOWED: Readonly<Record<Level, PathsAccord>> = (() => {
  const scope: RouteScope = { purposes: [], minimumTier: TIERS[0] };
  const tightest: PathsAccord = {
    overlay: { routes: { protect: true, exempt: [], overlay: scope, underlay: scope } },
    underlay: { gate: 'frozen' },
  };
  return { 1: tightest, 2: tightest, 3: tightest, 4: tightest, 5: tightest };
})();
