/**
 * The proposals that wait for somebody who may execute them, durably.
 * It must not decide who may propose or execute.
 */
import type { DesiredStore, ProposalMessage } from '@kedge/bus';
import { channelSchema, tierSchema } from '@kedge/contracts';
import { type DesiredKind, type Edit, editedSet } from '@kedge/reconcile';
import { type RouteChange, routeMessageOf } from '@kedge/route-set';
import { routeKey, type RouteSpec, routeSpecOf } from '@kedge/routes';
import { KedgeError } from '@kedge/units';
import { z } from 'zod';

/** Most proposals that wait. */
export const MAX_PROPOSALS = 256;

const proposalSchema = z.strictObject({
  id: z.string(),
  principal: z.string(),
  tier: tierSchema,
  channel: channelSchema,
  reason: z.string(),
  add: z.array(
    z.unknown().transform((route, context): RouteSpec => {
      try {
        return routeSpecOf(route as RouteSpec);
      } catch (error) {
        context.addIssue({ code: 'custom', message: error instanceof Error ? error.message : 'no route' });
        return z.NEVER;
      }
    }),
  ),
  remove: z.array(z.strictObject({ destination: z.string(), metric: z.int() })),
  /** Decimal text: a file holds no numbers of 64 bits. */
  epoch: z.string().regex(/^\d{1,15}$/),
  atWallMs: z.int(),
});

/** A proposal as it is kept. */
export type KeptProposal = z.output<typeof proposalSchema>;

/** How proposals stand in their file. */
export const proposalKind: DesiredKind<KeptProposal> = {
  schema: 'kedge.underlay-proposals/1',
  keyOf: ({ id }) => id,
  parse: (value) => proposalSchema.parse(value),
};

/** The change that a proposal asks for. */
export function proposedChange({ add, remove }: KeptProposal): RouteChange {
  return { add, remove: remove.map(routeKey) };
}

/** A proposal on the wire. */
export function proposalMessageOf(kept: KeptProposal): ProposalMessage {
  const { id, principal, tier, channel, reason, add, remove, epoch, atWallMs } = kept;
  return {
    id,
    principal,
    tier,
    channel,
    reason,
    change: { add: add.map(routeMessageOf), remove },
    epoch: BigInt(epoch),
    atWallMs: BigInt(atWallMs),
  };
}

/** The queue. */
export class Proposals {
  readonly #store: DesiredStore<KeptProposal>;

  constructor(store: DesiredStore<KeptProposal>) {
    this.#store = store;
  }

  /** Oldest first. */
  get all(): readonly KeptProposal[] {
    return this.#store.current.items.toSorted((a, b) => a.atWallMs - b.atWallMs);
  }

  get(id: string): KeptProposal | undefined {
    return this.#store.current.items.find((each) => each.id === id);
  }

  /** @throws KedgeError `UNDERLAY_PROPOSALS_FULL`, `BUS_DESIRED_FAILED` */
  async put(proposal: KeptProposal): Promise<void> {
    if (this.get(proposal.id) === undefined && this.#store.current.items.length >= MAX_PROPOSALS) {
      throw new KedgeError({
        code: 'UNDERLAY_PROPOSALS_FULL',
        message: `cannot keep the proposal ${proposal.id}: ${MAX_PROPOSALS} wait already`,
        help: 'have some of them executed or withdrawn',
      });
    }
    await this.#edit([{ do: 'put', item: proposal }]);
  }

  async remove(id: string): Promise<void> {
    await this.#edit([{ do: 'remove', key: id }]);
  }

  async #edit(edits: readonly Edit<KeptProposal>[]): Promise<void> {
    await this.#store.save(editedSet(proposalKind, this.#store.current, edits));
  }
}
