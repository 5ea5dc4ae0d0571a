/**
 * What the accords say of the underlay at a level, for whoever holds devices to their intent.
 * It must not decide which accords are in force; the coordinator does.
 */
import type { accordsTree } from '@kedge/intent-model';
import type { UnderlayAccord } from '@kedge/posture';
import type { PathAccords } from '@kedge/route-set';
import type { Level } from '@kedge/units';

type Underlay = accordsTree.AccordsLevelUnderlay;

const NOTHING: Underlay = { gate: { mode: 'frozen' } };

/** The accords in force, where they can be read; else those of the intent; else nothing is let through. */
export class UnderlayAccords {
  readonly #inForce: PathAccords | undefined;
  #intended: accordsTree.AccordsTree | undefined;

  /** @param inForce behind the coordinator's pointer; undefined: none are configured. */
  constructor(inForce: PathAccords | undefined) {
    this.#inForce = inForce;
  }

  /** The accords of the intent; undefined: it says nothing of them. */
  intend(accords: accordsTree.AccordsTree | undefined): void {
    this.#intended = accords;
  }

  /** What holds at a level now; looks whether other accords came into force. */
  at(level: Level): Underlay {
    this.#inForce?.follow();
    if (this.#inForce?.usable === true) return asTree(this.#inForce.levels[level].underlay);
    const row = this.#intended?.['kedge-accords:accords']?.level.find(({ number }) => number === level);
    return row?.underlay ?? NOTHING;
  }
}

/** In the form of the tree. */
function asTree({ gate, executeTier, proposeTier, drift }: UnderlayAccord): Underlay {
  const remedies = Object.entries(drift?.remedies ?? {}) as [
    NonNullable<NonNullable<Underlay['drift']>['remedy']>[number]['severity'],
    NonNullable<NonNullable<Underlay['drift']>['remedy']>[number]['remediation'],
  ][];
  return {
    gate: {
      mode: gate,
      ...(executeTier === undefined ? {} : { 'execute-tier': executeTier }),
      ...(proposeTier === undefined ? {} : { 'propose-tier': proposeTier }),
    },
    ...(drift === undefined
      ? {}
      : {
          drift: {
            interval: drift.intervalS,
            remedy: remedies.map(([severity, remediation]) => ({ severity, remediation })),
          },
        }),
  };
}
