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

/** A receiver of syslog over TLS that every record goes to (RFC 5424, RFC 5425). */
const syslogFeed = z.strictObject({
  /** Name of the feed: its cursor, its alarms and its metrics are told by it. */
  name: z.string().regex(/^[a-z][a-z0-9-]{0,30}$/, 'expected a name of small letters, digits and hyphens'),
  host: z.string().min(1).max(253),
  port: z.int().min(1).max(65_535).default(6_514),
  /** The name that its certificate has to be for; absent: the host. */
  serverName: z.string().min(1).max(253).optional(),
  /** Certificates of the authorities that may vouch for it, PEM; absent: those of the system. Read at each connection. */
  authorities: path.optional(),
  /** What this box proves itself by, where the receiver asks; read at each connection. */
  identity: z.strictObject({ certificate: path, key: path }).optional(),
  /** Private enterprise number of whoever runs it, in the name of the structured data. */
  enterpriseNumber: z.int().min(1).max(4_294_967_295),
  /** Largest message that the receiver takes, bytes; a longer record is named, not sent. */
  maxBytes: z.int().min(480).max(1_048_576).default(8_192),
  /** Whether people are told by their names or by pseudonyms. */
  people: z.enum(['names', 'pseudonyms']).default('pseudonyms'),
  /** Where a feed begins that never ran: with the first entry that is kept, or with the next one. */
  begin: z.enum(['first', 'next']).default('first'),
  /** What was sent counts as received when a connection was ended in order; this is done after so long. */
  settleMs: z.int().min(100).max(3_600_000).default(10_000),
  /** The feed is said to be behind when it did not catch up for so long. */
  behindMs: z.int().min(1_000).max(86_400_000).default(60_000),
});

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
  /** Who is sent every record, each from where it was left. */
  feeds: z
    .array(syslogFeed)
    .max(4)
    .refine(
      (feeds) => new Set(feeds.map(({ name }) => name)).size === feeds.length,
      'expected names that differ',
    )
    .default([]),
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

/** See {@link syslogFeed}. */
export type SyslogFeedConfig = z.output<typeof syslogFeed>;

/** See {@link configSchema}. */
export type QuartermasterConfig = z.output<typeof configSchema>;
