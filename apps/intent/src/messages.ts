/**
 * The intent on the wire: revisions, answers and requests as messages and back.
 * It must not decide anything.
 */
import type {
  IntentCandidateMessage,
  IntentEditMessage,
  IntentFindingMessage,
  IntentHolderMessage,
  IntentLockMessage,
  IntentRefusalMessage,
  IntentReply,
  IntentRevisionMessage,
} from '@kedge/bus';
import type { PlanValue } from '@kedge/contracts';
import {
  type Candidate,
  EDIT_KINDS,
  type Finding,
  type Holder,
  type IntentEdit,
  type IntentRefusal,
  type Lock,
  type Reply,
  type Revision,
  type Source,
  SOURCES,
  wrongField,
} from '@kedge/datastores';
import { KedgeError } from '@kedge/units';

/** Findings in one reply, at most. */
export const FINDINGS_MAX = 1000;
/** Bytes of one piece of a text. */
const PIECE_BYTES = 256 * 1024;

/** A text in pieces that belong one after the other. */
export function* piecesOf(text: string): Generator<Uint8Array> {
  const bytes = Buffer.from(text, 'utf8');
  for (let at = 0; at < bytes.length; at += PIECE_BYTES) yield bytes.subarray(at, at + PIECE_BYTES);
}

export function revisionMessage(revision: Revision): IntentRevisionMessage {
  const { number, id, parent, atMs, by, cause, of, confirmSeconds, comment, hash, bytes, modules } = revision;
  return {
    number,
    id,
    parent: parent ?? '',
    atWallMs: BigInt(atMs),
    ...(by === null ? {} : { by: holderMessage(by) }),
    cause,
    of: of ?? 0,
    confirmSeconds: confirmSeconds ?? 0,
    comment,
    hash,
    bytes: BigInt(bytes),
    modules: modules ?? '',
  };
}

export function holderMessage({ principal, tier, channel }: Holder): IntentHolderMessage {
  return { principal, tier, channel };
}

export function lockMessage({ by, atMs, comment }: Lock): IntentLockMessage {
  return { by: holderMessage(by), atWallMs: BigInt(atMs), comment };
}

export function candidateMessage({ base, hash, by, atMs }: Candidate): IntentCandidateMessage {
  return {
    base,
    hash,
    changed: by !== null,
    ...(by === null ? {} : { by: holderMessage(by) }),
    atWallMs: BigInt(atMs),
  };
}

export function findingMessages(findings: readonly Finding[]): readonly IntentFindingMessage[] {
  return findings.slice(0, FINDINGS_MAX).map(({ path, message, appTag = '' }) => ({ path, message, appTag }));
}

export function refusalMessage(refusal: IntentRefusal, rule = ''): IntentRefusalMessage {
  const {
    code,
    message,
    field = '',
    expected = '',
    help = '',
    between,
    findings = [],
    complete = true,
  } = refusal;
  return {
    code,
    message,
    field,
    expected,
    help,
    rule,
    ...(between === undefined ? {} : { between: revisionMessage(between) }),
    findings: findingMessages(findings),
    complete: complete && findings.length <= FINDINGS_MAX,
  };
}

/** The refusal of a call that only looks. */
export function thrownRefusal({ code, message, field, expected, help }: IntentRefusal): KedgeError {
  return new KedgeError({
    code,
    message,
    ...(field === undefined ? {} : { field }),
    ...(expected === undefined ? {} : { expected }),
    ...(help === undefined ? {} : { help }),
  });
}

/** An answer of the datastores on the wire. @param candidate as it stands now. */
export function replyMessage(reply: Reply, candidate: Candidate | undefined): IntentReply {
  switch (reply.kind) {
    case 'candidate': {
      const { base, hash, changed } = reply;
      const known =
        candidate?.hash === hash ? candidateMessage(candidate) : { base, hash, changed, atWallMs: 0n };
      return { outcome: 'candidate', candidate: known };
    }
    case 'locked':
      return { outcome: 'locked', locked: lockMessage(reply.lock) };
    case 'unlocked':
      return { outcome: 'unlocked', unlocked: lockMessage(reply.was) };
    case 'committed':
      return {
        outcome: 'committed',
        committed: {
          revision: revisionMessage(reply.revision),
          confirmByWallMs: BigInt(reply.confirmByMs ?? 0),
        },
      };
    case 'unchanged':
      return { outcome: 'unchanged', unchanged: revisionMessage(reply.revision) };
    case 'confirmed':
      return { outcome: 'confirmed', confirmed: revisionMessage(reply.revision) };
    case 'cancelled':
      return {
        outcome: 'cancelled',
        cancelled: { revision: revisionMessage(reply.revision), was: reply.was },
      };
    case 'refusal':
      return { outcome: 'refusal', refusal: refusalMessage(reply) };
  }
}

/** A datastore or a revision by its text. @throws KedgeError `INTENT_REQUEST` */
export function sourceOf(text: string, field: string): Source {
  const named = SOURCES.find((source) => source === text);
  if (named !== undefined) return named;
  if (/^[1-9]\d{0,9}$/.test(text)) return Number(text);
  throw thrownRefusal(wrongField(field, `${SOURCES.join(', ')}, or the number of a revision`));
}

/** Edits out of their messages, or the field that is wrong. */
export function editsOf(messages: readonly IntentEditMessage[]): readonly IntentEdit[] | IntentRefusal {
  const edits: IntentEdit[] = [];
  for (const [at, { kind, path, value }] of messages.entries()) {
    const known = EDIT_KINDS.find((each) => each === kind);
    if (known === undefined) return wrongField(`edits[${at}].kind`, EDIT_KINDS.join(', '));
    let parsed: PlanValue | undefined;
    try {
      parsed = value === undefined ? undefined : (JSON.parse(value) as PlanValue);
    } catch {
      return wrongField(`edits[${at}].value`, 'JSON; a text stands in quotes');
    }
    edits.push({ kind: known, path, ...(parsed === undefined ? {} : { value: parsed }) });
  }
  return edits;
}
