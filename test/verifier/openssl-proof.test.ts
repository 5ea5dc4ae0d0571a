/**
 * The script of docs/ledger-proofs.md, as it is printed there, over logs that are whole and that were tampered with.
 */
import { spawnSync } from 'node:child_process';
import { generateKeyPairSync } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  cosigned,
  inclusionProof,
  nodesInTiles,
  proofText,
  signCheckpoint,
  signerOf,
  TiledLog,
} from '@kedge/ledger';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

const PAGE = join(import.meta.dirname, '../../docs/ledger-proofs.md');
const box = signerOf('kedge.example/box-7', generateKeyPairSync('ed25519').privateKey);
const other = signerOf('kedge.example/box-7', generateKeyPairSync('ed25519').privateKey);
const witness = signerOf('witness.example/w', generateKeyPairSync('ed25519').privateKey, 'witness');
const entryOf = (index: number): Buffer => Buffer.from(`{"entry":${index}}`);

describe('a proof that openssl checks', () => {
  let room: string;
  beforeAll(() => {
    room = mkdtempSync(join(tmpdir(), 'kedge-proof-'));
    const [, script] = /```sh\n([\s\S]*?)```/.exec(readFileSync(PAGE, 'utf8')) ?? [];
    writeFileSync(join(room, 'prove.sh'), script ?? 'exit 9');
  });
  afterAll(() => rmSync(room, { recursive: true, force: true }));

  /** The proof of an entry in a fresh log of a size. */
  function proofIn(size: number, index: number): string {
    const log = TiledLog.open();
    for (let at = 0; at < size; at++) log.append(entryOf(at));
    const files = new Map(log.takeFiles().map(({ path, bytes }) => [path, bytes]));
    const proof = inclusionProof(
      index,
      size,
      nodesInTiles(size, (path) => files.get(path)),
    );
    const signed = signCheckpoint({ origin: box.name, size, root: log.root() }, box);
    return proofText({ index, proof, checkpoint: cosigned(signed, witness, 1_790_000_000) });
  }
  function checked(proof: string, entry: Buffer, key = box.text): { status: number | null; said: string } {
    writeFileSync(join(room, 'proof'), proof);
    writeFileSync(join(room, 'entry'), entry);
    const args = [join(room, 'prove.sh'), key, join(room, 'proof'), join(room, 'entry')];
    const { status, stdout, stderr } = spawnSync('sh', args, { encoding: 'utf8' });
    return { status, said: `${stdout}${stderr}`.trim() };
  }

  it('LE-2 an entry is proven with openssl and a shell alone, wherever it stands', () => {
    const cases = [
      ...[
        [1, 0],
        [2, 1],
        [7, 6],
        [8, 3],
      ],
      ...[
        [300, 0],
        [300, 255],
        [300, 256],
        [300, 299],
        [1_000, 513],
      ],
    ] as const;
    for (const [size = 0, index = 0] of cases) {
      expect(checked(proofIn(size, index), entryOf(index))).toEqual({
        status: 0,
        said: `proven: entry ${index} of ${size} of ${box.name}`,
      });
    }
    expect(cases).toHaveLength(9);
  });

  it('LE-2 nothing that was changed is proven, and it says what is wrong', () => {
    const good = proofIn(300, 77);
    const hashes = good.split('\n').slice(2, 11);
    const [first = '', second = ''] = hashes;
    const flipped = first.replace(/^./, first.startsWith('A') ? 'B' : 'A');
    const forged = signCheckpoint({ origin: other.name, size: 300, root: Buffer.alloc(32, 1) }, other);
    const wrong: [proof: string, entry: Buffer, key: string, said: string][] = [
      [good, entryOf(78), box.text, 'the entry leads to another root'],
      [good, Buffer.from('{"entry":77} '), box.text, 'the entry leads to another root'],
      [good.replace(first, flipped), entryOf(77), box.text, 'the entry leads to another root'],
      [good.replace('index 77', 'index 76'), entryOf(77), box.text, 'the entry leads to another root'],
      [good.replace('index 77', 'index 300'), entryOf(77), box.text, 'the index lies outside the ledger'],
      [good.replace('index 77', 'index 077'), entryOf(77), box.text, 'no number: 077'],
      [good.replace(`${first}\n`, ''), entryOf(77), box.text, 'the proof is too short'],
      [good.replace(first, `${first}\n${second}`), entryOf(77), box.text, 'the proof is too long'],
      [good.replace('\n300\n', '\n301\n'), entryOf(77), box.text, 'the signature does not hold'],
      [good.replace(/\n300\n.*\n/, '\n300\nAAAA\n'), entryOf(77), box.text, 'the signature does not hold'],
      [good, entryOf(77), other.text, 'the ledger has not signed this checkpoint'],
      [good, entryOf(77), witness.text, 'the key is of another kind'],
      [good, entryOf(77), box.text.replace(/\+.{8}\+/, '+00000000+'), 'the key has the id of another'],
      [
        `${good.split('\n\n')[0]}\n\n${forged}`,
        entryOf(77),
        box.text,
        'the ledger has not signed this checkpoint',
      ],
      [good.replace('tlog-proof@v1', 'tlog-proof@v2'), entryOf(77), box.text, 'this is no proof'],
    ];
    for (const [proof, entry, key, said] of wrong)
      expect(checked(proof, entry, key)).toEqual({ status: 1, said: `NOT PROVEN: ${said}` });
    expect(wrong).toHaveLength(15);
  });
});
