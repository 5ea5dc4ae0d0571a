/**
 * What a caller asks for, as the index takes it.
 * It must not ask anything itself.
 */
import type { LedgerFilter } from '@kedge/bus';
import { RECORD_SCHEMAS } from '@kedge/contracts';
import type { Filter, Kind } from '@kedge/ledger-index';
import { isLevel, KedgeError } from '@kedge/units';

/** Longest word of a filter. */
const WORD_MAX = 200;

/** The name of a kind as people say it: without the house's name and the version. */
export function kindName(schema: string): string {
  return schema.replace(/^kedge\./, '').replace(/\/\d+$/, '');
}

/**
 * The filter for the index; undefined where nothing can match, because nobody by that name has a key.
 *
 * @param keyIdOf the id of the key under which what a subject is called is sealed.
 * @throws KedgeError `LEDGER_QUESTION`, naming the field.
 */
export function filterOf(
  asked: LedgerFilter | undefined,
  keyIdOf: (subject: string) => string | undefined,
): Filter | undefined {
  if (asked === undefined) return {};
  const { fromWallMs, toWallMs, kinds, level, principal, device, session, outcome } = asked;
  const word = (field: string, text: string): readonly string[] => {
    if (text === '' || text.length > WORD_MAX) throw wrong(field, `1 to ${WORD_MAX} characters`);
    return [text];
  };
  if (level !== undefined && !isLevel(level)) throw wrong('level', 'a posture level, 1 to 5');
  let principals: readonly string[] | undefined;
  if (principal !== undefined) {
    word('principal', principal);
    const id = keyIdOf(principal);
    if (id === undefined) return undefined;
    principals = [id];
  }
  return {
    ...(fromWallMs === undefined ? {} : { fromMs: momentOf('from_wall_ms', fromWallMs) }),
    ...(toWallMs === undefined ? {} : { toMs: momentOf('to_wall_ms', toWallMs) }),
    ...(kinds.length === 0 ? {} : { kinds: kinds.flatMap(kindsOf) }),
    ...(level === undefined ? {} : { levels: [level] }),
    ...(principals === undefined ? {} : { principals }),
    ...(device === undefined ? {} : { devices: word('device', device) }),
    ...(session === undefined ? {} : { sessions: word('session', session) }),
    ...(outcome === undefined ? {} : { outcomes: word('outcome', outcome) }),
  };
}

/** All versions of a kind. */
function kindsOf(name: string): readonly Kind[] {
  const found = RECORD_SCHEMAS.filter((schema) => schema === name || kindName(schema) === name);
  if (found.length > 0) return found;
  throw wrong('kinds', `one of ${RECORD_SCHEMAS.map(kindName).join(', ')}`);
}

function momentOf(field: string, ms: bigint): number {
  if (ms > 8_640_000_000_000_000n) throw wrong(field, 'milliseconds since 1970');
  return Number(ms);
}

function wrong(field: string, expected: string): KedgeError {
  return new KedgeError({
    code: 'LEDGER_QUESTION',
    message: `cannot ask the ledger that: ${field} is wrong`,
    field,
    expected,
  });
}
