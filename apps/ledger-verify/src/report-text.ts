/**
 * What a verification found, for people and for machines.
 * It must not decide what counts.
 */
import { type Finding, WHAT } from './finding.js';
import type { Verification } from './verification.js';

/** For people: what was read, then a row for each finding. */
export function reportText(found: Verification): string {
  const { checkpoint, entries, pruned, records, faults, notices, more } = found;
  const lines: string[] = [];
  if (checkpoint !== undefined) {
    lines.push(
      `ledger       ${plain(checkpoint.origin)}`,
      `checkpoint   ${checkpoint.size} entries, root ${checkpoint.root.toString('base64')}`,
      ...checkpoint.witnesses.map(({ by, atS }) => {
        return `cosigned     ${plain(by.name)} at ${new Date((atS ?? 0) * 1_000).toISOString()}`;
      }),
      `read         ${entries} entries, ${records} records; ${pruned} gone by retention`,
    );
  }
  if (faults.length > 0) lines.push('', ...rows(faults));
  if (notices.length > 0) lines.push('', 'worth knowing, and no fault:', ...rows(notices));
  if (more) lines.push('and more');
  lines.push(
    '',
    faults.length === 0
      ? 'sound'
      : `NOT SOUND: ${faults.length}${more ? ' or more' : ''} ${faults.length === 1 ? 'fault' : 'faults'}`,
  );
  return `${(lines[0] === '' ? lines.slice(1) : lines).join('\n')}\n`;
}

/** For machines: one object. */
export function reportJson(found: Verification): string {
  const { checkpoint, faults, more, ...rest } = found;
  const shown =
    checkpoint === undefined
      ? null
      : {
          origin: checkpoint.origin,
          size: checkpoint.size,
          root: checkpoint.root.toString('base64'),
          cosigned: checkpoint.witnesses.map(({ by, atS }) => ({ by: by.name, atS: atS ?? 0 })),
        };
  return `${JSON.stringify({ sound: faults.length === 0, checkpoint: shown, ...rest, faults, more })}\n`;
}

function rows(findings: readonly Finding[]): string[] {
  const cells = findings.map(({ path, what, entries, detail }) => [
    path,
    entries === undefined
      ? 'all'
      : entries[0] === entries[1]
        ? `${entries[0]}`
        : `${entries[0]}–${entries[1]}`,
    `${WHAT[what]}${detail === '' ? '' : ` (${plain(detail)})`} [${what}]`,
  ]);
  const all = [['FILE', 'ENTRIES', 'WHAT'], ...cells];
  const widths = [0, 1].map((column) => Math.max(...all.map((row) => (row[column] ?? '').length)));
  return all.map(
    ([path = '', entries = '', what = '']) =>
      `${path.padEnd(widths[0] ?? 0)}  ${entries.padStart(widths[1] ?? 0)}  ${what}`,
  );
}

/** Text of somebody else on one line of a terminal. */
function plain(text: string): string {
  return text.replace(/[\p{Cc}\p{Cf}\u2028\u2029]/gu, '\ufffd');
}
