/**
 * The configuration of the quartermaster: one strict schema.
 * It must not read files; `loadConfig` does.
 */
import { authorisationSchema } from '@kedge/authz';
import { metricsSchema } from '@kedge/runtime';
import { z } from 'zod';

const path = z.string().regex(/^\/[^\0]*$/, 'expected an absolute path');
const uid = z.int().min(0).max(4_294_967_294);
const service = z.string().regex(/^[a-z][a-z0-9-]{0,30}$/, 'expected the name of a service');

/** See the fields. Durations are milliseconds where nothing else is said. */
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
  /** Root of the socket directories. */
  sockets: path,
  /** Directory of the ledger; made when missing, this service's own. */
  directory: path,
  /** Name of the log, as it stands in every checkpoint: unique among all logs, like "kedge.example/box-7". */
  origin: z.string().regex(/^[^\s+]{1,200}$/u, 'expected a name without blanks and plus signs'),
  /** The key that signs checkpoints, PKCS #8 PEM, 0600; made at the first start. */
  key: path,
  /** Policies by which requests are decided (docs/authorisation.md). */
  authorisation: authorisationSchema.prefault({}),
  /** Services that deliver records, each at `sources/SERVICE/ledger.sock`. */
  sources: z.array(service).max(32),
  /** Who cosigns; absent: nobody. */
  witness: z
    .strictObject({
      url: z.url({ protocol: /^https?$/ }),
      /** C2SP verifier key of the witness. */
      key: z.string().min(1).max(512),
      /** Between two anchorings while batched. */
      everyMs: z.int().min(100).max(86_400_000).default(10_000),
      /** How long one may take. */
      timeoutMs: z.int().min(10).max(60_000).default(2_000),
    })
    .optional(),
  /** How long what was kept is kept. */
  retention: z
    .strictObject({
      days: z.int().min(1).max(36_500).default(365),
      breakGlassDays: z.int().min(1).max(36_500).default(2_555),
    })
    .default({ days: 365, breakGlassDays: 2_555 }),
  /** How long the forensic snapshot of level 1 waits for its parts; a share of the overlay's budget (LE-8). */
  snapshotWaitMs: z.int().min(10).max(4_000).default(2_000),
  /** Where metrics are served; absent: nowhere. */
  metrics: metricsSchema.optional(),
  logLevel: z.enum(['debug', 'info', 'warn', 'error']).default('info'),
});

/** See {@link configSchema}. */
export type QuartermasterConfig = z.output<typeof configSchema>;
