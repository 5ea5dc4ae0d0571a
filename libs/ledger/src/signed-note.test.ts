/**
 * Signed notes, checkpoints, proofs as text, and what a witness says to them.
 */
import type { KedgeError } from '@kedge/units';
import fc from 'fast-check';
import { createPrivateKey, generateKeyPairSync, type KeyObject } from 'node:crypto';
import { describe, expect, it } from 'vitest';

import {
  type Checkpoint,
  isProven,
  openCheckpoint,
  proofOf,
  proofText,
  signCheckpoint,
} from './checkpoint.js';
import { consistencyProof, EMPTY_ROOT, inclusionProof, leafHash, nodesOver, rootOf } from './merkle-tree.js';
import { cosigned, MAX_SIGNATURES, openNote, signerOf, signNote, verifierOf } from './signed-note.js';
import { witnessVerdict } from './witness.js';

const code = (name: string): unknown => expect.objectContaining({ code: name });
/** A key that is the same in every run. */
const keyOf = (byte: number): KeyObject =>
  createPrivateKey({
    key: Buffer.concat([Buffer.from('302e020100300506032b657004220420', 'hex'), Buffer.alloc(32, byte)]),
    format: 'der',
    type: 'pkcs8',
  });
const log = signerOf('kedge.example/box-7', keyOf(1));
const other = signerOf('kedge.example/box-8', keyOf(2));
const witness = signerOf('fleet.example/w1', keyOf(3), 'witness');

/** The example of C2SP's signed-note. */
const EXAMPLE_KEY = 'example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k';
const EXAMPLE_NOTE =
  'This is an example message.\n\n\u2014 example.com/foo ' +
  'Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=\n';

const leaves = Array.from({ length: 20 }, (_, at) => leafHash(Buffer.from(`entry ${at}`)));
const nodes = nodesOver(leaves);
const at = (size: number, more: Partial<Checkpoint> = {}): Checkpoint => ({
  origin: log.name,
  size,
  root: rootOf(size, nodes),
  ...more,
});

describe('signed notes', () => {
  it('LE-2 opens the example of the specification with the key that it prints', () => {
    const verifier = verifierOf(EXAMPLE_KEY);
    expect(verifier).toMatchObject({
      name: 'example.com/foo',
      id: 0x530d903a,
      kind: 'log',
      text: EXAMPLE_KEY,
    });
    const { text, unknown } = openNote(EXAMPLE_NOTE, [verifier]);
    expect([text, unknown]).toEqual(['This is an example message.\n', 0]);
    const otherText = EXAMPLE_NOTE.replace('an example', 'no example');
    expect(() => openNote(otherText, [verifier])).toThrow(code('LEDGER_NOTE_FORGED'));
  });

  it('LE-2 any text that was signed opens with the key as text, and with no other', () => {
    const line = fc
      .string({ unit: 'binary', maxLength: 40 })
      .map((text) => text.replaceAll(/[\p{Cc}\p{Cs}]/gu, ''));
    fc.assert(
      fc.property(fc.array(line, { minLength: 1, maxLength: 8 }), (lines) => {
        const text = `${lines.join('\n')}\n`;
        const note = signNote(text, log);
        expect(openNote(note, [verifierOf(log.text)]).text).toBe(text);
        expect(() => openNote(note, [other, witness])).toThrow(code('LEDGER_NOTE_UNKNOWN'));
      }),
    );
  });

  it('LE-2 a note of which a character was changed does not open', () => {
    const note = cosigned(signCheckpoint(at(9), log), witness, 1_700_000_000);
    fc.assert(
      fc.property(fc.nat(note.length - 1), fc.integer({ min: 1, max: 126 }), (place, by) => {
        const changed = String.fromCharCode((note.charCodeAt(place) + by) % 127);
        const forged = note.slice(0, place) + changed + note.slice(place + 1);
        let held = 0;
        try {
          held = openNote(forged, [log, witness]).signatures.length;
        } catch (error) {
          expect((error as KedgeError).code).toMatch(/^LEDGER_NOTE_/);
        }
        // A changed name or id makes a signature one of nobody; the other one has to hold all the same.
        expect(held).toBeLessThan(2);
        if (held === 1) expect(forged.split('\n\n')[0]).toBe(note.split('\n\n')[0]);
      }),
      { numRuns: 1_000 },
    );
  });

  it('ignores keys that share only a name or only an id, and counts them', () => {
    const note = `${signNote('text\n', log)}${signNote('text\n', signerOf(log.name, keyOf(9))).split('\n\n')[1] ?? ''}`;
    expect(openNote(note, [log])).toMatchObject({ unknown: 1, signatures: [{ by: { id: log.id } }] });
  });

  it('refuses notes that are malformed', () => {
    const [, signature = ''] = signNote('text\n', log).split('\n\n');
    const wrong = [
      ...['', '\n', 'text\n', 'text\n\n', `text\n${signature}`, `text\n\n${signature.trimEnd()}`],
      ...[
        `text\n\n${signature}\n`,
        `text\n\n- ${signature.slice(2)}`,
        `text\n\n${signature.replace(' ', '  ')}`,
      ],
      ...[`te\txt\n\n${signature}`, `te\rxt\n\n${signature}`, `te\ud800xt\n\n${signature}`],
      ...[
        `text\n\n${signature.replace(log.name, 'a+b')}`,
        `text\n\n${signature.replace(log.name, 'a\u00a0b')}`,
      ],
      ...[
        `text\n\n\u2014 ${log.name} AAAA\n`,
        `text\n\n\u2014 ${log.name} AAAAAB==\n`,
        `text\n\n\u2014 ${log.name}\n`,
      ],
      ...[`text\n\n${signature.repeat(MAX_SIGNATURES + 1)}`, `${'x'.repeat(66_000)}\n\n${signature}`],
    ];
    for (const each of wrong)
      expect(() => openNote(each, [log]), each).toThrow(code('LEDGER_NOTE_MALFORMED'));
    expect(wrong).toHaveLength(19);
    expect(openNote(`text\n\n${signature.repeat(MAX_SIGNATURES)}`, [log]).signatures).toHaveLength(
      MAX_SIGNATURES,
    );
    expect(openNote(signNote('a\n\nb\n', log), [log]).text).toBe('a\n\nb\n');
    for (const text of ['', 'text', 'te\txt\n', `${'x'.repeat(40_000)}\n`]) {
      expect(() => signNote(text, log)).toThrow(code('LEDGER_NOTE_TEXT'));
    }
  });

  it('refuses keys that are none, of another algorithm, or for another use', () => {
    const [name = '', id = '', key = ''] = log.text.split(/\+(?=[0-9a-f]{8}\+)|(?<=\+[0-9a-f]{8})\+/);
    const wrong = [
      ...['', name, `${name}+${id}`, `${name}+${id}+`, `${name}+00000000+${key}`, `a b+${id}+${key}`],
      ...[`${name}+${id.toUpperCase()}x+${key}`, `other+${id}+${key}`, ` ${log.text}`, `${log.text}\n`],
      ...[`${name}+${id}+${Buffer.alloc(33, 2).toString('base64')}`, `${name}+${id}+${key.slice(0, -4)}`],
    ];
    for (const each of wrong) expect(() => verifierOf(each), each).toThrow(code('LEDGER_KEY_TEXT'));
    expect(wrong).toHaveLength(12);
    expect(() => signerOf('a b', keyOf(1))).toThrow(code('LEDGER_KEY_NAME'));
    const rsa = generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey;
    expect(() => signerOf('a', rsa)).toThrow(code('LEDGER_KEY_KIND'));
    expect(() => signNote('text\n', witness)).toThrow(code('LEDGER_KEY_KIND'));
    expect(() => cosigned(signNote('text\n', log), other, 0)).toThrow(code('LEDGER_KEY_KIND'));
    // The same key under the same name is another key for another use.
    expect(signerOf('x', keyOf(1)).id).not.toBe(signerOf('x', keyOf(1), 'witness').id);
  });
});

describe('checkpoints', () => {
  it('LE-4 carry the cosignature of a witness with its time, which holds for the checkpoint and the time', () => {
    const note = cosigned(signCheckpoint(at(7), log), witness, 1_764_000_000);
    const opened = openCheckpoint(note, verifierOf(log.text), [verifierOf(witness.text)]);
    expect(opened).toMatchObject(at(7));
    expect(opened.witnesses.map(({ by, atS }) => [by.name, atS])).toEqual([[witness.name, 1_764_000_000]]);
    expect(openCheckpoint(note, log).witnesses).toEqual([]);
    const full = `${note}${`${note.split('\n').at(-2) ?? ''}\n`.repeat(MAX_SIGNATURES - 2)}`;
    expect(() => cosigned(full, witness, 1)).toThrow(code('LEDGER_NOTE_MALFORMED'));
    const line = note.split('\n').at(-2) ?? '';
    const bytes = Buffer.from(line.split(' ')[2] ?? '', 'base64');
    for (const place of [11, 12, 75]) {
      const forged = Buffer.from(bytes);
      forged.writeUInt8(forged.readUInt8(place) ^ 1, place);
      const changed = note.replace(bytes.toString('base64'), forged.toString('base64'));
      expect(() => openCheckpoint(changed, log, [witness])).toThrow(code('LEDGER_NOTE_FORGED'));
    }
    const moved = signCheckpoint(at(8), log) + `${line}\n`;
    expect(() => openCheckpoint(moved, log, [witness])).toThrow(code('LEDGER_NOTE_FORGED'));
  });

  it('LE-2 are only what their own log has signed: a size, a root, and nothing else', () => {
    expect(openCheckpoint(signCheckpoint(at(0), log), log)).toMatchObject({ size: 0, root: EMPTY_ROOT });
    const root = at(5).root.toString('base64');
    const wrong = [
      ...[`${other.name}\n5\n${root}\n`, `${log.name}\n05\n${root}\n`, `${log.name}\n-5\n${root}\n`],
      ...[`${log.name}\n9007199254740992\n${root}\n`, `${log.name}\n5\n${root}\nmore\n`, `${log.name}\n5\n`],
      ...[`${log.name}\n5\n${root.slice(4)}\n`, `${log.name}\n0\n${root}\n`, `${log.name}\n5\n${root}\n\n`],
    ];
    for (const text of wrong) {
      expect(() => openCheckpoint(signNote(text, log), log), text).toThrow(code('LEDGER_CHECKPOINT'));
    }
    expect(wrong).toHaveLength(9);
    expect(() => signCheckpoint(at(5), other)).toThrow(code('LEDGER_CHECKPOINT'));
    expect(() => signCheckpoint(at(5, { size: -1 }), log)).toThrow(code('LEDGER_CHECKPOINT'));
    expect(() => openCheckpoint(cosigned(signCheckpoint(at(5), log), witness, 1), witness)).toThrow(
      code('LEDGER_CHECKPOINT'),
    );
    // A witness cannot speak for the log.
    const lines = cosigned(signCheckpoint(at(5), log), witness, 1).split('\n');
    const alone = lines.toSpliced(4, 1).join('\n');
    expect(() => openCheckpoint(alone, log, [witness])).toThrow(code('LEDGER_NOTE_UNKNOWN'));
  });

  it('LE-2 an entry is proven to somebody who has the key of the log, by a text alone', () => {
    let visited = 0;
    for (let index = 0; index < 20; index++) {
      const checkpoint = signCheckpoint(at(20), log);
      const text = proofText({ index, proof: inclusionProof(index, 20, nodes), checkpoint });
      const proof = proofOf(text);
      expect(proofText(proof)).toBe(text);
      leaves.forEach((leaf, each) =>
        expect(isProven(leaf, proof, verifierOf(log.text))).toBe(each === index),
      );
      visited += 1;
    }
    expect(visited).toBe(20);
    const good = proofText({
      index: 3,
      proof: inclusionProof(3, 20, nodes),
      checkpoint: signCheckpoint(at(20), log),
    });
    const wrong = [
      ...[
        '',
        '\n\n',
        good.replace('@v1', '@v2'),
        good.replace('index 3', 'index 03'),
        good.replace('index 3', '3'),
      ],
      ...[
        good.replace('=\n', '\n'),
        good.replace('\n\n', '\n'),
        good.replace('index 3\n', `index 3\n${'A'.repeat(8)}\n`),
      ],
      ...[
        good.replace('index 3\n', `index 3\n${`${'A'.repeat(43)}=\n`.repeat(65)}`),
        good + 'x'.repeat(140_000),
      ],
    ];
    for (const text of wrong) {
      expect(() => proofOf(text), text.slice(0, 200)).toThrow(code('LEDGER_PROOF_TEXT'));
    }
    expect(wrong).toHaveLength(1 + 9);
  });
});

describe('a witness', () => {
  it('LE-4 takes a log that has grown, and finds one that was put back or has forked', () => {
    const forkLeaves = leaves.with(3, leafHash(Buffer.from('forged')));
    const fork = nodesOver(forkLeaves);
    const size = fc.nat(20);
    fc.assert(
      fc.property(size, size, (a, b) => {
        const proof = consistencyProof(Math.min(a, b), Math.max(a, b), nodes);
        expect(witnessVerdict(at(a), at(b), proof)).toBe(b < a ? 'older' : 'accepted');
        if (a === 0) return;
        // Whatever proof the owner of a forked log makes.
        const forged = { ...at(b), root: rootOf(b, fork) };
        const own = consistencyProof(Math.min(a, b), Math.max(a, b), fork);
        const isFork = b > 3;
        if (b === a && isFork) expect(witnessVerdict(at(a), forged, own)).toBe('fork');
        if (b > a && a > 3) expect(witnessVerdict(at(a), forged, own)).toBe('unproven');
        if (b > a && isFork) expect(witnessVerdict(at(a), forged, proof)).toBe('unproven');
      }),
    );
    expect(witnessVerdict(undefined, at(7), [])).toBe('accepted');
    expect(witnessVerdict(at(7), at(7, { origin: 'kedge.example/box-8' }), [])).toBe('unproven');
  });
});
