/**
 * The coordinator's configuration file.
 * It must not read it; the runtime does, once.
 */
import { authorisationSchema } from '@kedge/authz';
import { PLUGIN_CAPABILITIES } from '@kedge/contracts';
import { metricsSchema, tracesSchema } from '@kedge/runtime';
import { isLevel, type Level } from '@kedge/units';
import { z } from 'zod';

import { STORAGE_ANSWER_MS } from './storage.js';

const path = z.string().regex(/^\/[^\0]*$/, 'expected an absolute path');

export const configSchema = z.strictObject({
  /** Name of this appliance in records. */
  appliance: z.string().regex(/^[A-Za-z0-9][A-Za-z0-9.-]{0,63}$/, 'expected an appliance id'),
  board: z.strictObject({
    /** The board directory. */
    directory: path,
    /** Files of others that count, by name, with the uid that owns each: warden, participant-NAME, dataplane-NAME. */
    owners: z.record(
      z
        .string()
        .regex(
          /^(warden|tables|participant-[a-z0-9-]{1,19}|dataplane-[a-z0-9-]{1,21})$/,
          'expected a file of the board',
        ),
      z.int().min(0).max(4_294_967_294),
    ),
  }),
  /** Root of the socket directories: console/, local/TIER/. They exist already. */
  sockets: path,
  /**
   * Socket of its own for the intent, which asks for accords on behalf of whoever committed them. Who can open its
   * directory is believed when it says for whom it asks, so that is nobody but the intent. Absent: nobody is.
   */
  intentSocket: path.optional(),
  /** Directory of journal, reports and records. Exists already, is this service's own. */
  state: path,
  /**
   * Accords (RFC 7951 JSON). Absent: the default authority. Unreadable or invalid: the tightest, in which only the
   * console may loosen, and an alarm says so.
   */
  accords: path.optional(),
  /** Zones that the accords name. */
  zones: path.optional(),
  /** Policies by which requests are decided (docs/authorisation.md). */
  authorisation: authorisationSchema.prefault({}),
  /**
   * Directory in which the accords in force are kept for everybody (PO-2): two pointers, `tables` for the bridge and
   * `paths` for overlay and underlay, each to a directory with accords.json and zones.json. `accords` and `zones` are
   * what the very first start and every reload take. Absent: `accords` are read at each start, and never reloaded.
   */
  accordsInForce: path.optional(),
  /**
   * How long the data plane may take to use the tables of tighter accords before they are decided, milliseconds; if
   * it takes longer they are refused, and nothing has changed. Shorter than whoever asks usually waits, so that they
   * hear of it.
   */
  accordsPublishMs: z.int().min(100).max(60_000).default(3_000),
  /** Level of the very first start. */
  provisioningLevel: z
    .int()
    .min(1)
    .max(5)
    .transform((level): Level => (isLevel(level) ? level : 1))
    .default(2),
  /**
   * Participants of the overlay that are the session layer, by name without "participant-": when loosening they have a
   * stage of their own, after the rest. When tightening everybody begins together, behind the data plane.
   */
  sessionParticipants: z.array(z.string().regex(/^[a-z0-9-]{1,19}$/)).default([]),
  /** How long a transition is verified before it ends as late, milliseconds. */
  verifyMs: z.int().min(50).max(60_000).default(2_000),
  /** Budgets where no warden says one, milliseconds: for reports only, the warden holds its own. */
  budgetsMs: z
    .strictObject({
      dataplane: z.number().positive().default(1),
      overlay: z.number().positive().default(5_000),
      underlay: z.number().positive().default(10_000),
    })
    .prefault({}),
  /**
   * Pins of the two BPF maps by which the host's programs ask for a level and see the one in force. Absent, or where
   * the kernel has no BPF: no requests come that way, and the start says so.
   */
  bpf: z.strictObject({ level: path, inForce: path }).optional(),
  /**
   * Posture-source plugins (docs/plugins.md), each in a confined process of its own. One that cannot be loaded is
   * said, and stops nothing.
   */
  plugins: z
    .strictObject({
      /** kedge-confine. */
      confine: path,
      /** The plugin host's child.js. */
      runner: path,
      /** Folders that the runner's own imports come from. */
      readable: z.array(path).max(8).default([]),
      sources: z
        .array(
          z.strictObject({
            folder: path,
            granted: z.array(z.enum(PLUGIN_CAPABILITIES)).max(PLUGIN_CAPABILITIES.length).default([]),
            /** Files that it may read, by the names that it knows; it can read the rest of their directories, too. */
            files: z.record(z.string().regex(/^[a-z][a-z0-9-]{0,30}$/), path).default({}),
            settings: z
              .record(z.string().max(64), z.union([z.string().max(1_024), z.number(), z.boolean()]))
              .default({}),
          }),
        )
        .max(16),
    })
    .optional(),
  /** Records that the journal holds before it is written anew; 128 bytes each. */
  journalRecords: z.int().min(64).max(1_048_576).default(8_192),
  /** How long storage may take to answer before it is given up on: tightenings go on without it, milliseconds. */
  storageAnswerMs: z.int().min(100).max(60_000).default(STORAGE_ANSWER_MS),
  /** Socket of the ledger's intake for this service; absent: records wait in the spool. */
  ledger: path.optional(),
  /** Reports that are kept. */
  reports: z.int().min(10).max(10_000).default(1_000),
  /** Where metrics are served; absent: nowhere. */
  metrics: metricsSchema.optional(),
  /** Where spans of transitions go; absent: nowhere. */
  traces: tracesSchema.optional(),
  logLevel: z.enum(['debug', 'info', 'warn', 'error']).default('info'),
});

/** See {@link configSchema}. */
export type CoordinatorConfig = z.output<typeof configSchema>;
