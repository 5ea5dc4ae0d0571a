import type { LedgerRecord } from '@kedge/contracts';
import type { SubjectKey } from '@kedge/ledger';

export const BEGIN_MS: number;
export function keyOf(subject: string): SubjectKey;
export function keyBy(id: string): SubjectKey | undefined;
export function recordAt(number: number): LedgerRecord;
export function entryAt(number: number): Buffer;
