/**
 * The configuration of the underlay: one strict schema.
 * It must not read files; `loadConfig` does.
 */
import { authorisationSchema } from '@kedge/authz';
import { metricsSchema, tracesSchema } from '@kedge/runtime';
import { z } from 'zod';

const path = z.string().regex(/^\/[^\0]*$/, 'expected an absolute path');
const uid = z.int().min(0).max(4_294_967_294);

/** See the fields. All durations are milliseconds. */
export const configSchema = z.strictObject({
  /** Name of the appliance. */
  appliance: z.string().regex(/^[A-Za-z0-9][A-Za-z0-9.-]{0,63}$/, 'expected an appliance id'),
  board: z.strictObject({
    /** The board directory. */
    directory: path,
    /** The user that must own each file of the board: posture, warden and the data planes. */
    owners: z
      .record(z.string().regex(/^(posture|warden|dataplane-[a-z0-9-]{1,21})$/), uid)
      .refine(
        (owners) => 'posture' in owners && 'warden' in owners,
        'expected the owners of posture and warden',
      ),
  }),
  /** Root of the socket directories; console/underlay, local/TIER/underlay and internal are served below it. */
  sockets: path,
  /**
   * Socket for the intent, in a directory that it alone can open: by it devices are read and written to for whoever it
   * names. Absent: nobody reads or writes devices.
   */
  devicesSocket: path.optional(),
  /** Directory of desired set, proposals and records; made when missing, this service's own. */
  state: path,
  /** RFC 7951 JSON of yang/kedge-accords.yang. */
  accords: path,
  /** RFC 7951 JSON of yang/kedge-zones.yang. */
  zones: path,
  /** Policies by which mutations are decided (docs/authorisation.md). */
  authorisation: authorisationSchema.prefault({}),
  /** The path's budget where no warden says one. */
  budgetMs: z.int().min(10).max(600_000).default(10_000),
  /** From the end of a good reconciliation to the next one; 0 = only when something happens. */
  reconcileMs: z.int().min(0).max(3_600_000).default(30_000),
  /** Socket of the ledger's intake for this service; absent: records wait in the spool. */
  ledger: path.optional(),
  /** Where metrics are served; absent: nowhere. */
  metrics: metricsSchema.optional(),
  /** Where spans of transitions go; absent: nowhere. */
  traces: tracesSchema.optional(),
  logLevel: z.enum(['debug', 'info', 'warn', 'error']).default('info'),
});

/** See {@link configSchema}. */
export type UnderlayConfig = z.output<typeof configSchema>;
