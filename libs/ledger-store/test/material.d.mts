/** The types of material.mjs. It must not hold anything else. */
import type { SessionTransit } from '@kedge/contracts';
import type { NoteSigner } from '@kedge/ledger';

export const signer: NoteSigner;
export function recordOf(number: number, at?: string): SessionTransit;
