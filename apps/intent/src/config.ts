/**
 * The configuration of the intent: one strict schema.
 * It must not read files; `loadConfig` does.
 */
import { authorisationSchema } from '@kedge/authz';
import { DOCUMENT_BYTES_MAX, HISTORY_BOUNDS } from '@kedge/datastores';
import { metricsSchema } from '@kedge/runtime';
import { z } from 'zod';

const path = z.string().regex(/^\/[^\0]*$/, 'expected an absolute path');
const uid = z.int().min(0).max(4_294_967_294);

/** See the fields. */
export const configSchema = z.strictObject({
  /** Name of the appliance. */
  appliance: z.string().regex(/^[A-Za-z0-9][A-Za-z0-9.-]{0,63}$/, 'expected an appliance id'),
  board: z.strictObject({
    /** The board directory. */
    directory: path,
    /** The user that must own each file of the board: posture and warden. */
    owners: z
      .record(z.string().regex(/^(posture|warden)$/), uid)
      .refine(
        (owners) => 'posture' in owners && 'warden' in owners,
        'expected the owners of posture and warden',
      ),
  }),
  /** Root of the socket directories; console/intent, local/TIER/intent and internal are served below it. */
  sockets: path,
  /** Directory of the datastores and of records; made when missing, this service's own. */
  state: path,
  /** Policies by which requests are decided (docs/authorisation.md). */
  authorisation: authorisationSchema.prefault({}),
  /** Directory with trees.json and the modules beside it; absent: those of the project (yang/). */
  modules: path.optional(),
  /** Largest document, bytes of canonical JSON. */
  documentBytes: z.int().min(1_024).max(DOCUMENT_BYTES_MAX).default(DOCUMENT_BYTES_MAX),
  /** How much of the history is kept; what is in force stays whatever it costs. */
  history: z
    .strictObject({
      revisions: z.int().min(2).max(100_000).default(HISTORY_BOUNDS.revisions),
      /** Bytes of all documents together, before they are packed. */
      bytes: z.int().min(1_024).max(17_179_869_184).default(HISTORY_BOUNDS.bytes),
    })
    .prefault({}),
  /** The posture coordinator, which brings the accords of the intent into force; absent: nobody is asked for them. */
  accords: z
    .strictObject({
      /** Its socket for the intent (its `intentSocket`). */
      socket: path,
      /** The directory in which it keeps the accords in force (its `accordsInForce`). */
      inForce: path,
    })
    .optional(),
  /** How devices are brought to the intent and held to it. */
  devices: z
    .strictObject({
      /** Socket of the underlay for the intent (its `devicesSocket`); absent: intent is kept, and brought to none. */
      socket: path.optional(),
      /** Devices that are read or written at once. */
      atOnce: z.int().min(1).max(256).default(32),
    })
    .prefault({}),
  /** Socket of the ledger's intake for this service; absent: records wait in the spool. */
  ledger: path.optional(),
  /** Where metrics are served; absent: nowhere. */
  metrics: metricsSchema.optional(),
  logLevel: z.enum(['debug', 'info', 'warn', 'error']).default('info'),
});

/** See {@link configSchema}. */
export type IntentConfig = z.output<typeof configSchema>;

/** The socket of the appliance's own services: by it one looks, and changes nothing. */
export function lookingSocket({ sockets }: Pick<IntentConfig, 'sockets'>): string {
  return `${sockets}/internal/intent.sock`;
}
