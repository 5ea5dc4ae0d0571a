/**
 * What the tests of the kept intent and their processes are made with: a course of requests that is the same each time,
 * and a digest of all that is kept.
 * It must not judge.
 */
import { headsText, IntentDatastores, revisionText } from '@kedge/datastores';
import { createHash } from 'node:crypto';

export const sha256 = (text) => createHash('sha256').update(text, 'utf8').digest('hex');

const ADA = { principal: 'user:ada', tier: 'master', channel: 'local' };
const AROUND = {
  sha256,
  documentBytes: 1_000_000,
  history: { revisions: 5, bytes: 100_000 },
  keysOf: () => undefined,
};
const BEGIN_MS = Date.UTC(2026, 10, 29, 12);

/** A document of its number; bulky ones do not fit into a page. */
export function documentAt(number, isBulky = false) {
  const noise = createHash('sha512').update(String(number)).digest('hex');
  const ports = Array.from({ length: isBulky ? 120 : 2 }, (_, at) => ({
    name: `p${at}`,
    note: sha256(`${noise}${at}`),
  }));
  return JSON.stringify({ 'site:name': `site ${number}`, 'site:ports': ports });
}

/** One digest of everything: what is in force, the whole history, every document. */
export function digestOf(heads, revisions, documents) {
  const texts = [...documents].sort(([a], [b]) => (a < b ? -1 : 1)).flat();
  return sha256([headsText(heads, sha256), ...revisions.map(revisionText), ...texts].join('\n'));
}

/** What a store should have after each transaction: kept beside it, in memory. */
export class Followed {
  heads;
  revisions = [];
  documents = new Map();
  take({ heads, revisions, documents, drop, forget }) {
    for (const { hash, text } of documents) this.documents.set(hash, text);
    this.revisions = [...this.revisions, ...revisions].filter(({ number }) => !drop.includes(number));
    for (const hash of forget) this.documents.delete(hash);
    this.heads = heads;
  }
  get digest() {
    return digestOf(this.heads, this.revisions, this.documents);
  }
}

/** Begins from what was kept. */
export function followedFrom(kept, documents) {
  const followed = new Followed();
  if (kept !== undefined)
    Object.assign(followed, { heads: kept.heads, revisions: kept.revisions, documents });
  return followed;
}

/**
 * Datastores over a store, with a clock that ticks by the number of its steps: the same requests make the same bytes.
 *
 * @param onKept told of each transaction once it is durable: its step and the digest of all that is kept then.
 */
export async function datastoresOver(store, onKept = () => undefined, onBegin = () => undefined) {
  const documents = new Map();
  for (const { hash } of store.kept?.revisions ?? []) documents.set(hash, await store.documentOf(hash));
  if (store.kept)
    documents.set(store.kept.heads.candidate.hash, await store.documentOf(store.kept.heads.candidate.hash));
  const followed = followedFrom(store.kept, documents);
  const world = { seconds: followed.heads?.step ?? 0, due: undefined };
  const keeping = {
    async keep(keep) {
      onBegin(keep.heads.step);
      await store.keep(keep);
      followed.take(keep);
      onKept(keep.heads.step, followed.digest);
    },
    documentOf: (hash) => store.documentOf(hash),
  };
  const datastores = await IntentDatastores.open({
    keeping,
    kept: store.kept,
    schema: {
      modules: sha256('modules'),
      validate: async (text) => ({
        findings: text.includes('site:name') || text === '{}' ? [] : [{ path: '', message: 'no name' }],
        complete: true,
      }),
      diff: async () => [],
    },
    around: AROUND,
    now: () => ({ ns: BigInt(world.seconds) * 1_000_000_000n, wallMs: BEGIN_MS + world.seconds * 1000 }),
    timers: {
      after: (_ms, call) => {
        world.due = call;
        return () => (world.due = undefined);
      },
    },
    posture: { level: 5, epoch: 7n },
    intend: () => undefined,
    withhold: () => undefined,
    record: async () => undefined,
    onTrouble: () => undefined,
  });
  const request = async (request) => {
    world.seconds += 1;
    const reply = await datastores.request({ by: ADA, ...request });
    return reply;
  };
  return {
    datastores,
    request,
    load: (number, isBulky) => request({ kind: 'load', text: documentAt(number, isBulky) }),
    commit: (confirmSeconds) =>
      request({
        kind: 'commit',
        comment: 'a "comment", ä',
        ...(confirmSeconds === undefined ? {} : { confirmSeconds }),
      }),
    /** So many seconds pass; what is due then happens. */
    async pass(seconds) {
      world.seconds += seconds;
      await datastores.tick();
    },
  };
}

/** Everything that is kept, once or twice: more revisions than the history takes, small ones and bulky ones. */
export async function wholeCourse(over) {
  const { request, load, commit, pass } = over;
  for (let number = 1; number <= 3; number++) {
    await load(number, number === 3);
    await commit();
  }
  await request({ kind: 'lock', comment: '' });
  await load(4, true);
  await request({ kind: 'edit', edits: [{ kind: 'replace', path: '/site:name', value: 'edited' }] });
  await commit(30);
  await request({ kind: 'confirm' });
  await load(5);
  await commit(30);
  await pass(31);
  await request({ kind: 'rollback', to: 4, comment: '' });
  await load(6);
  await request({ kind: 'discard' });
  await load(7, true);
  await commit(30);
  await request({ kind: 'cancel' });
  await request({ kind: 'unlock', force: false });
  await load(8);
  await commit(60);
}
