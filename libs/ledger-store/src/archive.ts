/**
 * Segments of the ledger as single files, to be moved away: 256 bundles, and a manifest that names them.
 * It must not remove anything.
 *
 * `segment-N.bundles` has for each bundle its length as u32, little-endian, and its bytes; length 0 where it was gone.
 */
import { canonicalJson, TILE_WIDTH, tilePath, type TileReader } from '@kedge/ledger';
import { hash } from 'node:crypto';
import { join } from 'node:path';

import { syncDirectory, writeFileDurably } from '@kedge/durable-files';

/** Bundles of a segment. */
export const SEGMENT_BUNDLES = 256;

/** What a manifest says. */
export interface SegmentManifest {
  /** Name of the log. */
  readonly origin: string;
  /** Index of the first entry. */
  readonly first: number;
  readonly entries: number;
  /** Of the file beside it. */
  readonly bytes: number;
  readonly sha256: string;
  /** Bundles that were gone already, by their index in the log. */
  readonly missing: readonly number[];
}

/** Writes a segment and its manifest durably; again over what is there, where it was cut short. */
export async function archiveSegment(
  directory: string,
  segment: number,
  origin: string,
  read: TileReader,
): Promise<void> {
  const parts: Buffer[] = [];
  const missing: number[] = [];
  for (let at = 0; at < SEGMENT_BUNDLES; at++) {
    const index = segment * SEGMENT_BUNDLES + at;
    const bundle = read(tilePath({ level: 'entries', index, width: TILE_WIDTH }));
    if (bundle === undefined) missing.push(index);
    const length = Buffer.alloc(4);
    length.writeUInt32LE(bundle?.length ?? 0);
    parts.push(length, Buffer.from(bundle ?? []));
  }
  const bytes = Buffer.concat(parts);
  const manifest: SegmentManifest = {
    origin,
    first: segment * SEGMENT_BUNDLES * TILE_WIDTH,
    entries: SEGMENT_BUNDLES * TILE_WIDTH,
    bytes: bytes.length,
    sha256: hash('sha256', bytes),
    missing,
  };
  const name = join(directory, `segment-${String(segment).padStart(12, '0')}`);
  await writeFileDurably(`${name}.bundles`, bytes);
  await writeFileDurably(`${name}.json`, Buffer.from(`${canonicalJson(manifest)}\n`));
  await syncDirectory(directory);
}

/** The bundles of an archived segment, undefined where one was gone; undefined for bytes that are none. */
export function bundlesOf(bytes: Buffer): (Buffer | undefined)[] | undefined {
  const bundles: (Buffer | undefined)[] = [];
  let at = 0;
  while (at + 4 <= bytes.length) {
    const end = at + 4 + bytes.readUInt32LE(at);
    if (end > bytes.length) return undefined;
    bundles.push(end === at + 4 ? undefined : bytes.subarray(at + 4, end));
    at = end;
  }
  return at === bytes.length && bundles.length === SEGMENT_BUNDLES ? bundles : undefined;
}
