/**
 * Puts the ledger's proofs and a second verifier of another language and author's reading side by side over random
 * trees, logs, notes and texts, whole and tampered with: `node test/verifier/agreement.mjs [TREES] [SEED]`.
 * Must not decide who is right: where they differ, or where both miss a tampering, the case is printed; exit 6.
 */
import { spawn } from 'node:child_process';
import { createPrivateKey } from 'node:crypto';
import { once } from 'node:events';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import {
  canonicalJson,
  checkLog,
  consistencyProof,
  cosigned,
  inclusionProof,
  isConsistent,
  isIncluded,
  isInSample,
  leafHash,
  nodesOver,
  openCheckpoint,
  openNote,
  parseCanonicalJson,
  placeAt,
  rootOf,
  signCheckpoint,
  signerOf,
  signNote,
  TILE_WIDTH,
  TiledLog,
  tilePath,
  tilesOf,
  verifierOf,
} from '@kedge/ledger';

const VERIFIER = join(import.meta.dirname, 'verifier.py');
const EXIT = { usage: 2, differ: 6 };
/** One in so many trees comes with a case of the other kinds. */
const EVERY = 10;

/** The same row of numbers for the same seed (a linear congruential generator of 64 bits). */
export class Chance {
  #state;

  constructor(seed) {
    this.#state = BigInt.asUintN(64, BigInt(seed) * 0x9e3779b97f4a7c15n + 1n);
  }

  /** A whole number from 0 to below `end`. */
  below(end) {
    this.#state = BigInt.asUintN(64, this.#state * 6364136223846793005n + 1442695040888963407n);
    return Number((this.#state >> 32n) % BigInt(end));
  }

  of(items) {
    return items[this.below(items.length)];
  }

  bytes(max) {
    return Buffer.from(Array.from({ length: this.below(max + 1) }, () => this.below(256)));
  }
}

const hex = (bytes) => Buffer.from(bytes).toString('hex');

function flipped(bytes, chance) {
  const other = Buffer.from(bytes);
  if (other.length > 0) other[chance.below(other.length)] ^= 1 << chance.below(8);
  return other;
}

function holds(check) {
  try {
    check();
    return true;
  } catch (error) {
    if (error.name !== 'KedgeError') throw error;
    return false;
  }
}

/** A list of hashes that is another one. */
function otherProof(proof, chance) {
  const at = chance.below(Math.max(proof.length, 1));
  const change = proof.length === 0 ? 3 : chance.below(5);
  if (change === 0) return proof.with(at, flipped(proof[at], chance));
  if (change === 1) return proof.toSpliced(at, 1);
  if (change === 2) return proof.toSpliced(at, 0, proof[at]);
  if (change === 4 && proof.length > 1) return [...proof.slice(1), proof[0]];
  return [...proof, Buffer.from(Array.from({ length: chance.of([32, 31]) }, () => chance.below(256)))];
}

/** A tree with proofs; the first claim of each kind is true and all others are false. */
function treeCase(chance) {
  const size = 1 + chance.below(chance.of([2, 9, 40, 300]));
  const entries = Array.from({ length: size }, (_, at) =>
    Buffer.concat([Buffer.from(`${at} `), chance.bytes(40)]),
  );
  const leaves = entries.map(leafHash);
  const nodes = nodesOver(leaves);
  const [index, first] = [chance.below(size), chance.below(size + 1)];
  const root = rootOf(size, nodes);
  const firstRoot = rootOf(first, nodes);
  const path = inclusionProof(index, size, nodes);
  const proof = consistencyProof(first, size, nodes);
  const included = { leaf: leaves[index], index, size, root, proof: path };
  const grown = { first, firstRoot, second: size, secondRoot: root, proof };
  const inclusion = [
    included,
    { ...included, proof: otherProof(path, chance) },
    { ...included, leaf: flipped(leaves[index], chance) },
    { ...included, root: flipped(root, chance) },
    { ...included, index: size + chance.below(3) },
    ...(size === 1 ? [] : [{ ...included, index: (index + 1 + chance.below(size - 1)) % size }]),
  ];
  const consistency = [
    grown,
    { ...grown, proof: otherProof(proof, chance) },
    { ...grown, firstRoot: flipped(firstRoot, chance) },
    { ...grown, first: size + 1 },
    ...(first === 0 ? [] : [{ ...grown, secondRoot: flipped(root, chance) }]),
  ];
  const claims = (all) =>
    all.map((claim) =>
      Object.fromEntries(
        Object.entries(claim).map(([name, value]) => {
          if (Array.isArray(value)) return [name, value.map(hex)];
          return [name, typeof value === 'number' ? value : hex(value)];
        }),
      ),
    );
  return {
    case: {
      kind: 'tree',
      entries: entries.map(hex),
      index,
      first,
      inclusion: claims(inclusion),
      consistency: claims(consistency),
    },
    answer: {
      root: hex(root),
      path: path.map(hex),
      proof: proof.map(hex),
      firstRoot: hex(firstRoot),
      inclusion: inclusion.map((claim) => isIncluded(claim)),
      consistency: consistency.map((claim) => isConsistent(claim)),
    },
    isRight: ({ inclusion: [one, ...none], consistency: [two, ...others] }) =>
      one && two && ![...none, ...others].includes(true),
    trees: 1,
    tamperings: inclusion.length + consistency.length - 2,
  };
}

const keyOf = (chance) =>
  createPrivateKey({
    key: Buffer.concat([
      Buffer.from('302e020100300506032b657004220420', 'hex'),
      Buffer.from(Array.from({ length: 32 }, () => chance.below(256))),
    ]),
    format: 'der',
    type: 'pkcs8',
  });

/** A log in files, whole, and with one of its files changed, gone, or another's. */
function logCase(chance) {
  const log = signerOf('kedge.example/box', keyOf(chance));
  const witness = signerOf('fleet.example/w1', keyOf(chance), 'witness');
  const size = 1 + chance.below(chance.of([3, 300, 700]));
  const keptSize = chance.below(size + 1);
  const tiles = TiledLog.open();
  const files = {};
  let keptNote;
  for (let at = 0; at <= size; at++) {
    if (at === keptSize || at === size) {
      for (const { path, bytes } of tiles.takeFiles()) files[path] = hex(bytes);
      const note = signCheckpoint({ origin: log.name, size: at, root: tiles.root() }, log);
      if (at === keptSize) keptNote = note;
      files.checkpoint = hex(chance.below(2) === 0 ? note : cosigned(note, witness, chance.below(2 ** 31)));
    }
    if (at < size) tiles.append(Buffer.concat([Buffer.from(`${at} `), chance.bytes(20)]));
  }
  const whole = { ...files };
  const needed = pathsOf(size);
  const change = () => {
    const path = chance.of(needed);
    const what = chance.below(4);
    const bytes = Buffer.from(files[path], 'hex');
    if (what === 0) return { [path]: null };
    if (what === 1) return { [path]: hex(bytes.subarray(0, -1 - chance.below(40))) };
    if (what === 2) return { [path]: files[chance.of(Object.keys(files))] };
    return { [path]: hex(flipped(bytes, chance)) };
  };
  const older = signCheckpoint({ origin: log.name, size: size + 1, root: tiles.root() }, log);
  const changes = [{}, ...Array.from({ length: 8 }, change)];
  const keys = { log: verifierOf(log.text), witnesses: [verifierOf(witness.text)] };
  const kept = chance.below(4) === 0 ? [keptNote, older] : [keptNote];
  // What retention took before the changes.
  const keptFrom = chance.below(3) === 0 ? chance.below(size + 1) : 0;
  for (let index = 0; (index + 1) * TILE_WIDTH <= keptFrom; index++) {
    if (chance.below(2) === 0) files[tilePath({ level: 'entries', index, width: TILE_WIDTH })] = null;
  }
  const verdicts = changes.map((each) => isWhole({ ...files, ...each }, keys, kept, keptFrom));
  const places = Array.from({ length: 5 }, () => [
    chance.of(['entries', 0, 7, 63]),
    chance.of([chance.below(1_000), chance.below(10_000_000), 2 ** 45 + chance.below(1_000)]),
    1 + chance.below(256),
  ]);
  return {
    case: {
      kind: 'log',
      log: log.text,
      witnesses: [witness.text],
      files,
      changes,
      kept: kept.map(hex),
      keptFrom,
      places,
    },
    answer: {
      verdicts,
      paths: places.map(([level, index, width]) => tilePath({ level, index, width })),
    },
    isRight: ({ verdicts: [one, ...others] }) =>
      one === (kept.length === 1) &&
      others.every((verdict, at) => !verdict || isHarmless(changes[at + 1], whole, keptFrom)),
    trees: 1,
    tamperings: changes.length - 1,
  };
}

/** All that a log of a size has to have. */
function pathsOf(size) {
  const tiles = [...tilesOf(size)];
  const bundles = tiles.filter(({ level }) => level === 0).map((tile) => ({ ...tile, level: 'entries' }));
  return ['checkpoint', ...[...tiles, ...bundles].map(tilePath)];
}

/** The same bytes as before, another signature under the same checkpoint, or a bundle that retention may take. */
function isHarmless(change, whole, keptFrom) {
  return Object.entries(change).every(([path, bytes]) => {
    if (bytes === whole[path]) return true;
    if (path === 'checkpoint') return bytes !== null && textOf(bytes) === textOf(whole[path]);
    const { level, index, width } = placeAt(path);
    return bytes === null && level === 'entries' && index * TILE_WIDTH + width <= keptFrom;
  });
}

const textOf = (note) => Buffer.from(note, 'hex').toString('utf8').split('\n\n')[0];

function isWhole(files, { log, witnesses }, kept, keptFrom) {
  const read = (path) =>
    files[path] === undefined || files[path] === null ? undefined : Buffer.from(files[path], 'hex');
  const note = read('checkpoint');
  if (note === undefined) return false;
  let faults;
  const isSigned = holds(() => {
    const { size, root } = openCheckpoint(note, log, witnesses);
    ({ faults } = checkLog({
      size,
      root,
      read,
      keptFrom,
      kept: kept.map((each) => openCheckpoint(each, log)),
    }));
  });
  return isSigned && faults.length === 0;
}

/** Notes and keys as text, and what they are not. */
function noteCase(chance) {
  const log = signerOf(chance.of(['kedge.example/box', 'Vermerk-Schl\u00fcssel', 'x']), keyOf(chance));
  const witness = signerOf('fleet.example/w1', keyOf(chance), 'witness');
  const text = `${chance.of(['one', '', 'zwei \u2014 drei', '\n', '\u0085'])}\n${hex(chance.bytes(9))}\n`;
  const signed = signNote(text, log);
  const note = Buffer.from(chance.below(2) === 0 ? signed : cosigned(signed, witness, chance.below(2 ** 31)));
  const cut = () => {
    const at = chance.below(note.length);
    return Buffer.concat([note.subarray(0, at), chance.bytes(3), note.subarray(at + chance.below(3))]);
  };
  const notes = [
    note,
    ...Array.from({ length: 6 }, () => (chance.below(2) === 0 ? flipped(note, chance) : cut())),
  ];
  const key = Buffer.from(chance.of([log, witness]).text);
  const texts = [key, ...Array.from({ length: 6 }, () => flipped(key, chance))]
    .map((bytes) => bytes.toString('utf8'))
    .filter((each) => !each.includes('\ufffd'));
  const keys = [log, witness];
  return {
    case: { kind: 'note', keys: keys.map((each) => each.text), notes: notes.map(hex), texts },
    answer: {
      notes: notes.map((each) => holds(() => openNote(each, keys))),
      texts: texts.map((each) => holds(() => verifierOf(each))),
    },
    isRight: ({ notes: [one], texts: [two] }) => one && two,
    trees: 0,
    tamperings: notes.length + texts.length - 2,
  };
}

const STRINGS = [
  '',
  'a',
  'A',
  '\u20ac',
  '\r',
  '\ufb33',
  '1',
  '\ud83d\ude00',
  '\u0080',
  '\u00f6',
  '\u007f',
  '"\\/',
];

function valueOf(chance, levels) {
  const kind = chance.below(levels === 0 ? 5 : 7);
  if (kind === 0) return chance.of([null, true, false]);
  if (kind === 1) return chance.of([0, 1, -1, 2 ** 53, 1e21, 1e-7, 0.000001, 333333333.3333333]);
  if (kind === 2) return (chance.below(2 ** 32) - 2 ** 31) * 10 ** (chance.below(40) - 20);
  if (kind === 3) {
    const number = Buffer.from(Array.from({ length: 8 }, () => chance.below(256))).readDoubleBE(0);
    return Number.isFinite(number) ? number : 5e-324;
  }
  if (kind === 4) return chance.of(STRINGS) + String.fromCharCode(chance.below(0xd800));
  if (kind === 5) return Array.from({ length: chance.below(5) }, () => valueOf(chance, levels - 1));
  return Object.fromEntries(
    Array.from({ length: chance.below(6) }, () => [
      chance.of(STRINGS) + chance.of(STRINGS),
      valueOf(chance, levels - 1),
    ]),
  );
}

/** Texts in canonical form, and near it. */
function jsonCase(chance) {
  const json = Array.from({ length: 10 }, () => {
    const value = valueOf(chance, 4);
    const bytes = Buffer.from(canonicalJson(value));
    const what = chance.below(5);
    if (what === 0) return flipped(bytes, chance);
    if (what === 1) return Buffer.from(JSON.stringify(value));
    if (what === 2) {
      const at = chance.below(bytes.length + 1);
      const more = chance.of(['0', ' ', ',', '"', '-', 'e', '.0', '\\u0041', '[]', '{"a":1,"a":1}']);
      return Buffer.concat([bytes.subarray(0, at), Buffer.from(more), bytes.subarray(at)]);
    }
    return bytes;
  });
  return {
    case: { kind: 'json', json: json.map(hex) },
    answer: { canonical: json.map((bytes) => holds(() => parseCanonicalJson(bytes))) },
    isRight: () => true,
    trees: 0,
    tamperings: 0,
  };
}

function sampleCase(chance) {
  const sessions = Array.from({ length: 20 }, () => [`session-${chance.below(2 ** 32)}`, chance.below(101)]);
  return {
    case: { kind: 'sample', sessions },
    answer: { sampled: sessions.map(([session, percent]) => isInSample(session, percent)) },
    isRight: () => true,
    trees: 0,
    tamperings: 0,
  };
}

function casesOf(number, seed) {
  const chance = new Chance(seed * 1_000_003 + number);
  const more = number % EVERY === 0 ? [logCase, noteCase, jsonCase, sampleCase] : [];
  return [treeCase, ...more].map((make) => make(chance));
}

/**
 * Lets both answer. What came of it: how many cases, trees and tamperings, and the cases in which they differ or are
 * both wrong, at most ten.
 */
export async function agreement(trees, seed) {
  const python = spawn('python3', [VERIFIER, 'cases'], { stdio: ['pipe', 'pipe', 'inherit'] });
  const closed = once(python, 'close');
  const lines = createInterface({ input: python.stdout })[Symbol.asyncIterator]();
  const found = { cases: 0, trees: 0, tamperings: 0, different: [], missed: [] };
  for (let number = 0; number < trees; number++) {
    // One tree at a time: what waits in the pipes stays small.
    const cases = casesOf(number, seed);
    python.stdin.write(cases.map((each) => `${JSON.stringify(each.case)}\n`).join(''));
    for (const each of cases) {
      const { value, done } = await lines.next();
      if (done) throw new Error(`the second verifier ended at tree ${number}`);
      const theirs = JSON.parse(value);
      found.cases += 1;
      found.trees += each.trees;
      found.tamperings += each.tamperings;
      const said = { number, kind: each.case.kind, ours: each.answer, theirs, case: each.case };
      if (canonicalJson(theirs) !== canonicalJson(each.answer)) found.different.push(said);
      else if (!each.isRight(each.answer)) found.missed.push(said);
      if (found.different.length + found.missed.length >= 10) number = trees;
    }
  }
  python.stdin.end();
  await closed;
  return found;
}

async function main([trees = '10000', seed = '1', ...more]) {
  if (more.length > 0 || !/^[1-9]\d{0,8}$/.test(trees) || !/^\d{1,9}$/.test(seed)) {
    console.error('usage: node test/verifier/agreement.mjs [TREES] [SEED]');
    return EXIT.usage;
  }
  const { different, missed, ...counts } = await agreement(Number(trees), Number(seed));
  for (const each of different) console.log(`they differ: ${JSON.stringify(each)}`);
  for (const each of missed) console.log(`both miss it: ${JSON.stringify(each)}`);
  console.log(
    `${counts.trees} trees, ${counts.tamperings} tamperings, ${counts.cases} cases: ${different.length} differ`,
  );
  return different.length + missed.length === 0 ? 0 : EXIT.differ;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) process.exitCode = await main(process.argv.slice(2));
