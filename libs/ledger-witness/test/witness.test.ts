/**
 * The witness over real HTTP and files: what it answers, what it keeps, what its client makes of it.
 */
import { execFileSync } from 'node:child_process';
import { generateKeyPairSync } from 'node:crypto';
import { once } from 'node:events';
import { chmodSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { type AddressInfo, connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  cosigned,
  EMPTY_ROOT,
  openCheckpoint,
  signCheckpoint,
  signerOf,
  signNote,
  verifierOf,
} from '@kedge/ledger';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import {
  addCheckpointOf,
  addCheckpointText,
  type AnchorVerdict,
  createWitnessKey,
  MAX_REQUEST_BYTES,
  openAnchor,
  openWitness,
  originHash,
  readWitnessKey,
  serveWitness,
  startAnchoring,
  type Witness,
  type WitnessAlarm,
  type WitnessServer,
} from '../src/index.js';
import { grow, putBack, requestOf } from './log-directory.js';

const signer = (name: string) => signerOf(name, generateKeyPairSync('ed25519').privateKey);
const box = signer('kedge.example/box-7');
const neighbour = signer('kedge.example/box-8');
const witnessKey = signerOf('witness.example/w', generateKeyPairSync('ed25519').privateKey, 'witness');
const code = (expected: string) => expect.objectContaining({ code: expected });

let room: string;
let alarms: WitnessAlarm[];
const open: { close(): unknown }[] = [];
beforeEach(() => {
  room = mkdtempSync(join(tmpdir(), 'kedge-witness-'));
  alarms = [];
});
afterEach(async () => {
  for (const each of open.splice(0).reverse()) await each.close();
  rmSync(room, { recursive: true, force: true });
});

const at = (name: string): string => join(room, name);

async function witnessHere(name = 'witness'): Promise<Witness> {
  const witness = await openWitness({
    directory: at(name),
    signer: witnessKey,
    logs: [verifierOf(box.text), verifierOf(neighbour.text)],
    nowMs: () => 1_790_000_000_500,
    onAlarm: (alarm) => alarms.push(alarm),
  });
  open.push(witness);
  return witness;
}

async function served(port = 0, more: object = {}): Promise<WitnessServer> {
  const server = await serveWitness({ witness: await witnessHere(), host: '127.0.0.1', port, ...more });
  open.push(server);
  return server;
}

function anchorTo(url: string, log = box, heldSize = 0): ReturnType<typeof openAnchor> {
  const anchor = openAnchor({ url, witness: verifierOf(witnessKey.text), log, answerMs: 2_000, heldSize });
  open.push(anchor);
  return anchor;
}

/** A log of a size in a directory of its own. */
function logOf(name: string, size: number, word?: string): string {
  grow(at(name), box, size, word);
  return at(name);
}

async function post(url: string, body: string): Promise<{ status: number; type: string; text: string }> {
  const response = await fetch(`${url}/add-checkpoint`, { method: 'POST', body });
  return {
    status: response.status,
    type: response.headers.get('content-type') ?? '',
    text: await response.text(),
  };
}

describe('a request to a witness', () => {
  it('is read as it was written, and nothing else passes for one', () => {
    const proof = [Buffer.alloc(32, 1), Buffer.alloc(32, 2)];
    const checkpoint = signCheckpoint({ origin: box.name, size: 9, root: Buffer.alloc(32, 3) }, box);
    const text = addCheckpointText({ oldSize: 4, proof, checkpoint });
    expect(addCheckpointOf(Buffer.from(text))).toEqual({ oldSize: 4, proof, checkpoint });
    const many = addCheckpointText({
      oldSize: 4,
      proof: Array.from({ length: 64 }, () => Buffer.alloc(32, 1)),
      checkpoint,
    });
    const wrong = [
      ...['', 'old 4\n', text.replace('old 4', 'old 04'), text.replace('old 4', 'new 4')],
      ...[text.replace('old 4', 'old -4'), text.replace('=\n', '\n'), text.replace('old 4\n', 'old 4\n\n\n')],
      ...[many, text + 'x'.repeat(MAX_REQUEST_BYTES), text.replace('old 4', 'old 9007199254740992')],
    ];
    const other = wrong.filter((each) => addCheckpointOf(Buffer.from(each))?.oldSize === 4);
    // An empty line more ends the proof early: what follows is no note, which is seen when it is opened.
    expect(other).toHaveLength(1);
    expect(addCheckpointOf(Buffer.from([0xff, ...Buffer.from(text)]))).toBeUndefined();
    expect(wrong).toHaveLength(10);
  });
});

describe('a witness', () => {
  it('LE-4 answers as tlog-witness says: cosignatures, the size it holds, and a status for each refusal', async () => {
    const { url } = await served();
    const log = logOf('log', 5);
    const five = requestOf(log, box);
    grow(log, box, 9);
    const nine = requestOf(log, box);
    const body = async (oldSize: number, request = nine, from = oldSize): Promise<string> =>
      addCheckpointText({ oldSize, proof: await request.proofFrom(from), checkpoint: request.checkpoint });
    const monitored = `${url}/${originHash(box.name)}/checkpoint`;
    expect((await fetch(monitored)).status).toBe(404);

    const first = await post(url, await body(0, five));
    expect(first.status).toBe(200);
    const opened = openCheckpoint(five.checkpoint + first.text, box, [witnessKey]);
    expect(opened.witnesses).toMatchObject([{ by: { name: 'witness.example/w' }, atS: 1_790_000_000 }]);

    expect(await post(url, await body(0))).toMatchObject({
      status: 409,
      type: 'text/x.tlog.size',
      text: '5\n',
    });
    expect((await post(url, await body(5, nine, 4))).status).toBe(422);
    expect((await post(url, await body(5))).status).toBe(200);
    // The same again: a client that did not get the answer asks once more.
    expect((await post(url, await body(9))).status).toBe(200);
    const held = openCheckpoint(await (await fetch(monitored)).text(), box, [witnessKey]);
    expect(held).toMatchObject({ size: 9, witnesses: [{ atS: 1_790_000_000 }] });

    const stranger = signer('kedge.example/box-9');
    const imitated = signerOf(box.name, generateKeyPairSync('ed25519').privateKey);
    const of = (by: typeof box, size = 12, root: Buffer = Buffer.alloc(32, 3)): string =>
      signCheckpoint({ origin: by.name, size, root }, by);
    const flipped = nine.checkpoint.replace(/\n9\n/, '\n10\n');
    const refusals: [number, string][] = [
      [404, addCheckpointText({ oldSize: 0, proof: [], checkpoint: of(stranger) })],
      [403, addCheckpointText({ oldSize: 9, proof: [], checkpoint: of(imitated) })],
      [403, addCheckpointText({ oldSize: 9, proof: [], checkpoint: flipped })],
      [400, addCheckpointText({ oldSize: 10, proof: [], checkpoint: nine.checkpoint })],
      [400, addCheckpointText({ oldSize: 9, proof: [], checkpoint: nine.checkpoint.slice(0, -1) })],
      [400, 'old 9\n'],
      [400, ''],
      [
        400,
        addCheckpointText({
          oldSize: 9,
          proof: [],
          checkpoint: signNote(`${nine.checkpoint.split('\n\n')[0]}\nmore\n`, box),
        }),
      ],
      [422, addCheckpointText({ oldSize: 9, proof: [], checkpoint: of(box, 9) })],
      [422, addCheckpointText({ oldSize: 9, proof: [Buffer.alloc(32)], checkpoint: nine.checkpoint })],
      [422, addCheckpointText({ oldSize: 0, proof: [Buffer.alloc(32)], checkpoint: of(neighbour) })],
      [
        422,
        addCheckpointText({
          oldSize: 0,
          proof: [],
          checkpoint: signNote(`${box.name}\n0\n${Buffer.alloc(32).toString('base64')}\n`, box),
        }),
      ],
      [413, 'x'.repeat(MAX_REQUEST_BYTES + 1)],
    ];
    for (const [status, text] of refusals)
      expect((await post(url, text)).status, text.slice(0, 200)).toBe(status);
    expect(refusals).toHaveLength(13);
    expect((await fetch(`${url}/add-checkpoint`)).status).toBe(405);
    expect((await fetch(`${url}/other`)).status).toBe(404);
    // Of an empty log there is a checkpoint too.
    const empty = addCheckpointText({ oldSize: 0, proof: [], checkpoint: of(neighbour, 0, EMPTY_ROOT) });
    expect((await post(url, empty)).status).toBe(200);
  });

  it('LE-4 keeps what it accepted over a restart, and each log by itself', async () => {
    const log = logOf('log', 300);
    grow(at('other'), neighbour, 20);
    const first = await served();
    expect((await anchorTo(first.url).anchor(requestOf(log, box))).verdict).toBe('cosigned');
    expect((await anchorTo(first.url, neighbour).anchor(requestOf(at('other'), neighbour))).verdict).toBe(
      'cosigned',
    );
    for (const each of open.splice(0).reverse()) await each.close();
    expect(statSync(join(at('witness'), 'held', originHash(box.name))).mode & 0o777).toBe(0o600);

    const { url } = await served();
    const held = await (await fetch(`${url}/${originHash(box.name)}/checkpoint`)).text();
    expect(openCheckpoint(held, box, [witnessKey])).toMatchObject({ size: 300, witnesses: [{}] });
    const forked = at('forked');
    grow(forked, box, 300, 'another');
    expect((await anchorTo(url).anchor(requestOf(forked, box))).verdict).toBe('fork');
  });

  it('LE-4 lets one of two histories through, however many offers of both come at once', async () => {
    const witness = await witnessHere();
    const server = await serveWitness({ witness, host: '127.0.0.1', port: 0 });
    open.push(server);
    const one = logOf('one', 50);
    putBack(one, at('other'));
    expect((await anchorTo(server.url).anchor(requestOf(one, box))).verdict).toBe('cosigned');
    grow(one, box, 60, 'one');
    grow(at('other'), box, 60, 'other');
    const texts = await Promise.all(
      [one, at('other')].map(async (directory) => {
        const { proofFrom, checkpoint } = requestOf(directory, box);
        return addCheckpointText({ oldSize: 50, proof: await proofFrom(50), checkpoint });
      }),
    );
    // Half of them before anything was written for the first one, as two connections may bring them.
    const offers = Array.from({ length: 40 }, async (_, turn) => {
      const text = texts[turn % 2] ?? '';
      const { status } =
        turn < 20 ? await witness.addCheckpoint(Buffer.from(text)) : await post(server.url, text);
      return { status, turn };
    });
    const taken = (await Promise.all(offers)).filter(({ status }) => status === 200);
    expect(taken.length).toBeGreaterThan(0);
    expect(new Set(taken.map(({ turn }) => turn % 2)).size).toBe(1);
    expect(alarms.every(({ kind }) => kind === 'fork')).toBe(true);
  });

  it('holds no connection for ever, and serves TLS when it is given a certificate', async () => {
    const key = at('tls.key');
    const cert = at('tls.crt');
    execFileSync('openssl', [
      ...['req', '-x509', '-newkey', 'ed25519', '-nodes', '-keyout', key, '-out', cert, '-days', '2'],
      ...['-subj', '/CN=127.0.0.1', '-addext', 'subjectAltName=IP:127.0.0.1'],
    ]);
    const tls = { cert: readFileSync(cert, 'utf8'), key: readFileSync(key, 'utf8') };
    const server = await served(0, { tls, requestMs: 400 });
    expect(server.url).toMatch(/^https:/);
    const anchor = openAnchor({ url: server.url, witness: witnessKey, log: box, ca: tls.cert });
    open.push(anchor);
    expect((await anchor.anchor(requestOf(logOf('log', 3), box))).verdict).toBe('cosigned');
    // Who does not trust the certificate gets no answer.
    expect((await anchorTo(server.url).anchor(requestOf(at('log'), box))).verdict).toBe('unreachable');
    await expect(
      serveWitness({
        witness: await witnessHere('w2'),
        host: '127.0.0.1',
        port: 0,
        tls: { cert: 'x', key: 'y' },
      }),
    ).rejects.toThrow(code('WITNESS_TLS'));

    const plain = await serveWitness({
      witness: await witnessHere('w3'),
      host: '127.0.0.1',
      port: 0,
      requestMs: 400,
    });
    open.push(plain);
    const slow = connect(Number(new URL(plain.url).port), '127.0.0.1');
    slow.on('error', () => undefined);
    slow.write('POST /add-checkpoint HTTP/1.1\r\nhost: x\r\ncontent-length: 50\r\n\r\nold');
    slow.resume();
    await once(slow, 'close');
    await expect(
      serveWitness({
        witness: await witnessHere('w4'),
        host: '127.0.0.1',
        port: Number(new URL(plain.url).port),
      }),
    ).rejects.toThrow(code('WITNESS_ADDRESS'));
  });

  it('does not start on what it cannot read, nor beside another, nor with the wrong keys', async () => {
    const witness = await witnessHere();
    await expect(witnessHere()).rejects.toThrow(code('WITNESS_BUSY'));
    await witness.close();
    writeFileSync(join(at('witness'), 'held', originHash(box.name)), 'nothing');
    await expect(witnessHere()).rejects.toThrow(code('WITNESS_HELD_DAMAGED'));
    writeFileSync(at('file'), '');
    await expect(witnessHere('file')).rejects.toThrow(code('WITNESS_STORAGE'));
    const wrong = { directory: at('x'), nowMs: () => 0 };
    for (const keys of [
      { signer: box, logs: [neighbour] },
      { signer: witnessKey, logs: [witnessKey] },
      { signer: witnessKey, logs: [box, box] },
    ]) {
      await expect(openWitness({ ...wrong, ...keys })).rejects.toThrow(code('WITNESS_OPTIONS'));
    }
    expect(() => openAnchor({ url: 'ftp://x', witness: witnessKey, log: box })).toThrow(
      code('WITNESS_OPTIONS'),
    );
    await expect(
      anchorTo('http://127.0.0.1:1').anchor({ checkpoint: 'nothing', proofFrom: () => [] }),
    ).rejects.toThrow(code('WITNESS_ANCHOR_UNSIGNED'));
  });
});

describe('a log that is anchored', () => {
  it('LE-4 is found out when its directory was put back, and the witness keeps both checkpoints', async () => {
    const { url } = await served();
    const log = logOf('log', 300);
    putBack(log, at('copy'));
    const anchor = anchorTo(url);
    expect((await anchor.anchor(requestOf(log, box))).verdict).toBe('cosigned');
    grow(log, box, 700);
    expect(await anchor.anchor(requestOf(log, box))).toMatchObject({
      verdict: 'cosigned',
      atS: 1_790_000_000,
    });
    expect(anchor.heldSize).toBe(700);
    putBack(at('copy'), log);
    // Also for a client that knows of nothing, as one that was put back with its box.
    for (const each of [anchor, anchorTo(url), anchorTo(url, box, 300)]) {
      const verdict = await each.anchor(requestOf(log, box));
      expect(verdict).toMatchObject({ verdict: 'older', held: { size: 700 } });
      const note = verdict.verdict === 'older' ? verdict.heldNote : '';
      expect(openCheckpoint(note, box, [witnessKey])).toMatchObject({ size: 700, witnesses: [{}] });
    }
    // Grown again out of the older state it is no longer older, and no less found out.
    grow(log, box, 900, 'again');
    expect(await anchor.anchor(requestOf(log, box))).toMatchObject({ verdict: 'fork', held: { size: 700 } });
    expect(alarms.map(({ kind }) => kind)).toEqual(['older', 'older', 'older', 'unproven']);
    const files = readdirSync(join(at('witness'), 'evidence'));
    expect(files).toHaveLength(2);
    for (const file of files) {
      const { kind, held, offered } = JSON.parse(
        readFileSync(join(at('witness'), 'evidence', file), 'utf8'),
      ) as { kind: string; held: string; offered: string };
      expect(openCheckpoint(held, box).size).toBe(700);
      expect(openCheckpoint(offered, box).size).toBe(kind === 'older' ? 300 : 900);
    }
  });

  it('LE-4 is found out when it has forked, at the same size and beyond', async () => {
    const { url } = await served();
    const log = logOf('log', 300);
    putBack(log, at('fork'));
    grow(log, box, 700, 'true');
    grow(at('fork'), box, 700, 'forged');
    expect((await anchorTo(url).anchor(requestOf(log, box))).verdict).toBe('cosigned');
    expect(await anchorTo(url).anchor(requestOf(at('fork'), box))).toMatchObject({ verdict: 'fork' });
    grow(at('fork'), box, 1_000, 'forged');
    expect(await anchorTo(url).anchor(requestOf(at('fork'), box))).toMatchObject({
      verdict: 'fork',
      held: { size: 700 },
    });
    // The true one goes on.
    grow(log, box, 800, 'true');
    expect((await anchorTo(url).anchor(requestOf(log, box))).verdict).toBe('cosigned');
    expect(alarms.map(({ kind }) => kind)).toEqual(['fork', 'fork', 'unproven']);
    for (const { evidence } of alarms) expect(statSync(evidence ?? '').mode & 0o777).toBe(0o600);
  });

  it('keeps a bounded number of contradictions, and raises the alarm for every one', async () => {
    const witness = await witnessHere();
    const log = logOf('log', 40);
    const offer = async (request: ReturnType<typeof requestOf>): Promise<unknown> =>
      await witness.addCheckpoint(
        Buffer.from(addCheckpointText({ oldSize: 0, proof: [], checkpoint: request.checkpoint })),
      );
    await offer(requestOf(log, box));
    for (let size = 1; size <= 20; size++) await offer(requestOf(logOf(`old-${size}`, size), box));
    expect(alarms).toHaveLength(20);
    expect(alarms.filter(({ evidence }) => evidence !== undefined)).toHaveLength(16);
    expect(readdirSync(join(at('witness'), 'evidence'))).toHaveLength(16);
  });

  it('LE-4 catches up with one offer when the witness is back, after pauses that grow and end', async () => {
    const spare = createServer();
    spare.listen(0, '127.0.0.1');
    await once(spare, 'listening');
    const { port } = spare.address() as AddressInfo;
    await new Promise((resolve) => spare.close(resolve));
    const log = logOf('log', 10);
    const verdicts: AnchorVerdict[] = [];
    const times: number[] = [];
    let told: () => void = () => undefined;
    const reached = new Promise<void>((resolve) => (told = resolve));
    const anchoring = startAnchoring({
      anchor: anchorTo(`http://127.0.0.1:${port}`),
      latest: () => requestOf(log, box),
      onVerdict: (verdict) => {
        verdicts.push(verdict);
        times.push(performance.now());
        if (verdict.verdict === 'cosigned') told();
      },
      onError: (error) => expect.fail(String(error)),
      pauseMs: 10,
      pauseMaxMs: 80,
      random: () => 1 - Number.EPSILON,
    });
    open.push({ close: () => anchoring.stop() });
    while (verdicts.length < 6) await new Promise((resolve) => setTimeout(resolve, 10));
    expect(verdicts.every(({ verdict }) => verdict === 'unreachable')).toBe(true);
    grow(log, box, 20);
    anchoring.wake();
    grow(log, box, 30);
    const { url } = await served(port);
    await reached;
    expect(verdicts.filter(({ verdict }) => verdict === 'cosigned')).toHaveLength(1);
    const pauses = times.slice(1).map((time, turn) => time - (times[turn] ?? 0));
    expect(pauses[4] ?? 0).toBeGreaterThan(pauses[0] ?? 0);
    const held = await (await fetch(`${url}/${originHash(box.name)}/checkpoint`)).text();
    expect(openCheckpoint(held, box).size).toBe(30);
  });

  it('LE-4 believes no witness that shows nothing a signature stands behind', async () => {
    const log = logOf('log', 30);
    const ahead = at('ahead');
    grow(ahead, box, 60);
    const larger = requestOf(ahead, box).checkpoint;
    let answer: { status: number; body: string; shown: string } = { status: 409, body: '60\n', shown: '' };
    const liar = createServer((request, response) => {
      const isAsked = request.method === 'POST';
      request.resume();
      response.writeHead(isAsked ? answer.status : 200).end(isAsked ? answer.body : answer.shown);
    });
    liar.listen(0, '127.0.0.1');
    await once(liar, 'listening');
    open.push({ close: () => new Promise((resolve) => liar.close(resolve)) });
    const url = `http://127.0.0.1:${(liar.address() as AddressInfo).port}`;
    const own = requestOf(log, box).checkpoint;
    const imitated = signerOf(witnessKey.name, generateKeyPairSync('ed25519').privateKey, 'witness');
    const cases: [typeof answer, string][] = [
      [{ status: 409, body: '60\n', shown: '' }, 'refused'],
      [{ status: 409, body: '60\n', shown: larger }, 'refused'],
      [{ status: 409, body: '60\n', shown: cosigned(larger, imitated, 1) }, 'refused'],
      [{ status: 409, body: '60\n', shown: cosigned(own, witnessKey, 1) }, 'refused'],
      [{ status: 409, body: '60\n', shown: cosigned(larger, witnessKey, 1) }, 'older'],
      [{ status: 409, body: '07\n', shown: '' }, 'refused'],
      [{ status: 422, body: 'no\n', shown: cosigned(own, witnessKey, 1) }, 'refused'],
      [{ status: 200, body: '', shown: '' }, 'refused'],
      [{ status: 200, body: cosigned(larger, witnessKey, 1).slice(larger.length), shown: '' }, 'refused'],
      [{ status: 404, body: 'who\n', shown: '' }, 'refused'],
      [{ status: 503, body: '', shown: '' }, 'unreachable'],
      [{ status: 200, body: 'x'.repeat(200_000), shown: '' }, 'unreachable'],
    ];
    for (const [given, expected] of cases) {
      answer = given;
      const { verdict } = await anchorTo(url).anchor(requestOf(log, box));
      expect(verdict, JSON.stringify(given).slice(0, 200)).toBe(expected);
    }
    expect(cases).toHaveLength(12);
    for (const each of open.splice(1)) await each.close();
    liar.closeAllConnections();
  });
});

describe('the key of a witness', () => {
  it('is read by nobody but its owner, and never replaced', () => {
    const made = createWitnessKey(at('key'), 'witness.example/w');
    expect(statSync(at('key')).mode & 0o777).toBe(0o600);
    expect(readWitnessKey(at('key'))).toMatchObject({ text: made.text, kind: 'witness' });
    expect(() => createWitnessKey(at('key'), 'witness.example/w')).toThrow(code('WITNESS_KEY_EXISTS'));
    expect(() => createWitnessKey(at('no/key'), 'w')).toThrow(code('WITNESS_KEY_UNWRITABLE'));
    expect(() => createWitnessKey(at('two'), 'with space')).toThrow(code('LEDGER_KEY_NAME'));
    chmodSync(at('key'), 0o640);
    expect(() => readWitnessKey(at('key'))).toThrow(code('WITNESS_KEY_OPEN'));
    chmodSync(at('key'), 0o600);
    writeFileSync(at('key'), readFileSync(at('key'), 'utf8').replace('witness key 1', 'witness key 2'));
    expect(() => readWitnessKey(at('key'))).toThrow(code('WITNESS_KEY_INVALID'));
    expect(() => readWitnessKey(at('none'))).toThrow(code('WITNESS_KEY_UNREADABLE'));
  });
});
