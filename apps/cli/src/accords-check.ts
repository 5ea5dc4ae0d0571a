/**
 * Whether two files would be taken as accords and zones, as the coordinator asks before it reloads them.
 * It must not ask an appliance.
 */
import { readAccordDocument } from '@kedge/bus';
import { compileAccords, findLoosenings, type Fault, validateAccords } from '@kedge/posture';
import { KedgeError } from '@kedge/units';

/** What was found in the files. */
export interface AccordsCheck {
  readonly valid: boolean;
  /** By instance identifier. */
  readonly faults: readonly Fault[];
  readonly zones: number;
  /** Of the allowlist. */
  readonly entries: number;
}

/** @throws KedgeError `ACCORD_UNREADABLE`, `ACCORD_SYNTAX` */
export function checkAccords(accordsFile: string, zonesFile: string): AccordsCheck {
  const reading = validateAccords(
    readAccordDocument('accords', accordsFile),
    readAccordDocument('zones', zonesFile),
  );
  if (!reading.valid) return { valid: false, faults: reading.faults, zones: 0, entries: 0 };
  const { accords, zones } = reading.set;
  const faults = findLoosenings(reading.set);
  try {
    compileAccords(accords, zones);
  } catch (error) {
    if (!(error instanceof KedgeError)) throw error;
    faults.push({ code: error.code, path: error.field ?? '/', message: error.message });
  }
  return { valid: faults.length === 0, faults, zones: zones.zones.length, entries: zones.entries.length };
}

/** The findings for people. */
export function accordsCheckText({ valid, faults, zones, entries }: AccordsCheck): string {
  return valid
    ? `valid: ${zones} zones, ${entries} entries in the allowlist`
    : faults.map(({ code, path, message }) => `${path}: ${message} [${code}]`).join('\n');
}
