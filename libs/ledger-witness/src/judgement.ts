/**
 * What a witness answers to a request, by the log's key and the checkpoint that it holds: a pure function.
 * It must not keep anything nor sign: what is accepted is kept durably first, and cosigned then.
 */
import { type Checkpoint, type NoteVerifier, openCheckpoint, openNote, witnessVerdict } from '@kedge/ledger';
import { hasCode } from '@kedge/units';

import { type AddCheckpoint, type Answer, refusal, sizeAnswer } from './add-checkpoint.js';

/** A checkpoint with the signature of its log and no other. */
export interface Held {
  readonly checkpoint: Checkpoint;
  readonly note: string;
}

/**
 * Two checkpoints that a log has signed and that do not go together. `fork`: two histories of one size. `older`: it
 * was put back, or an old checkpoint was offered again. `unproven`: no proof that it has only grown.
 */
export interface Contradiction {
  readonly kind: 'fork' | 'older' | 'unproven';
  readonly held: Held;
  readonly offered: Held;
}

/** What to do with a request. */
export type Judgement =
  | { readonly verdict: 'accepted'; readonly offered: Held }
  | { readonly verdict: 'refused'; readonly answer: Answer; readonly contradiction?: Contradiction };

/**
 * Judges a request, in the order of the specification.
 *
 * @param log the key of the log that the checkpoint names.
 * @param held the newest that was accepted; undefined = none yet.
 */
export function judgementOf(
  { oldSize, proof, checkpoint: note }: AddCheckpoint,
  log: NoteVerifier,
  held: Held | undefined,
): Judgement {
  const refused = (answer: Answer, contradiction?: Contradiction): Judgement => ({
    verdict: 'refused',
    answer,
    ...(contradiction === undefined ? {} : { contradiction }),
  });
  const read = offeredOf(note, log);
  if ('status' in read) return refused(read);
  const { checkpoint } = read;
  const against = (kind: Contradiction['kind'] | undefined): Contradiction | undefined =>
    kind === undefined || held === undefined ? undefined : { kind, held, offered: read };
  if (oldSize > checkpoint.size) return refused(refusal(400, 'old is larger than the checkpoint'));
  const heldSize = held?.checkpoint.size ?? 0;
  if (oldSize !== heldSize) return refused(sizeAnswer(heldSize), against(contradictionOf(held, checkpoint)));
  const isEmptyProof = oldSize === 0 || oldSize === checkpoint.size;
  if (isEmptyProof && proof.length > 0) return refused(refusal(422, 'this proof has to be without hashes'));
  const verdict = witnessVerdict(held?.checkpoint, checkpoint, proof);
  if (verdict === 'accepted') return { verdict, offered: read };
  return refused(refusal(422, 'the log was not shown to have only grown'), against(verdict));
}

/** What two checkpoints say against each other without a proof. */
function contradictionOf(held: Held | undefined, offered: Checkpoint): Contradiction['kind'] | undefined {
  if (held === undefined) return undefined;
  if (offered.size < held.checkpoint.size) return 'older';
  const isFork = offered.size === held.checkpoint.size && !offered.root.equals(held.checkpoint.root);
  return isFork ? 'fork' : undefined;
}

function offeredOf(note: string, log: NoteVerifier): Held | Answer {
  try {
    const checkpoint = openCheckpoint(note, log);
    return { checkpoint, note: bareNote(note, log) };
  } catch (error) {
    if (hasCode(error, 'LEDGER_NOTE_FORGED') || hasCode(error, 'LEDGER_NOTE_UNKNOWN'))
      return refusal(403, 'no signature of the log holds');
    if (hasCode(error, 'LEDGER_NOTE_MALFORMED')) return refusal(400, 'no signed note');
    if (!hasCode(error, 'LEDGER_CHECKPOINT')) throw error;
    const isEmpty = /^[^\n]+\n0\n[^\n]+\n$/.test(openNote(note, [log]).text);
    return isEmpty
      ? refusal(422, 'the root of nothing is another one')
      : refusal(400, 'no checkpoint, or one with extension lines');
  }
}

/** A note with the signature of one key alone: what others have added could fill it up. */
function bareNote(note: string, { name, id }: NoteVerifier): string {
  const blank = note.lastIndexOf('\n\n');
  const line = note
    .slice(blank + 2, -1)
    .split('\n')
    .find((row) => {
      const [, by, encoded = ''] = row.split(' ');
      return by === name && Buffer.from(encoded, 'base64').readUInt32BE(0) === id;
    });
  return `${note.slice(0, blank + 2)}${line ?? ''}\n`;
}
