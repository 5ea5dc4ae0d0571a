/**
 * The configuration of the bridge: one strict schema.
 * It must not read files; `loadConfig` does.
 */
import { metricsSchema, tracesSchema } from '@kedge/runtime';
import { isIP } from 'node:net';
import { z } from 'zod';

const path = z.string().regex(/^\/[^\0]*$/, 'expected an absolute path');
const uid = z.int().min(0).max(4_294_967_294);

/** Where flows go as IPFIX (DP-12). */
const ipfixSchema = z.strictObject({
  /** Addresses, so that nothing waits for a resolver. 4739 is the registered port. */
  collectors: z
    .array(
      z.strictObject({
        host: z.string().refine((host) => isIP(host) !== 0 && !host.includes('%'), 'expected an address'),
        port: z.int().min(1).max(65_535).default(4_739),
      }),
    )
    .min(1)
    .max(8),
  /** What tells this appliance's flows from those of others behind the same address. */
  observationDomain: z.int().min(1).max(4_294_967_295).default(1),
  /** Of the elements that IANA has not: 32473 is the number that RFC 5612 keeps for documentation. */
  enterpriseNumber: z.int().min(1).max(4_294_967_295).default(32_473),
  /** Templates are sent again after so many seconds. */
  templateRefreshS: z.int().min(1).max(86_400).default(60),
});

/** See the fields. All durations are milliseconds. */
export const configSchema = z.strictObject({
  /** Name of the appliance, for its records. */
  appliance: z.string().regex(/^[A-Za-z0-9][A-Za-z0-9.-]{0,63}$/, 'expected an appliance id'),
  /** The board directory. */
  board: path,
  /** Root of the socket directories; `internal/governance.sock` is served below it. */
  sockets: path,
  /** RFC 7951 JSON of yang/kedge-accords.yang. */
  accords: path,
  /** RFC 7951 JSON of yang/kedge-zones.yang. */
  zones: path,
  /** Where records wait for the ledger; made when missing. */
  spool: path,
  /** Socket of the ledger's intake for this service; absent: records wait in the spool. */
  ledger: path.optional(),
  /** The user that must own each file of the board. Files `dataplane-NAME` are the data planes that are served. */
  owners: z
    .record(z.string().regex(/^(posture|warden|dataplane-[a-z0-9-]{1,21})$/), uid)
    .refine(
      (owners) => 'posture' in owners && 'warden' in owners,
      'expected the owners of posture and warden',
    ),
  /** How often a bank that is still in use is looked at again. */
  bankRetryMs: z.int().min(1).max(10_000).default(20),
  /** How long a reload waits for a free bank before it answers that it goes on waiting. */
  reloadWaitMs: z.int().min(0).max(60_000).default(1_000),
  /** How often telemetry is drained. A ring holds 1024 events. */
  drainMs: z.int().min(10).max(10_000).default(100),
  /** How often hit counters are sampled. */
  sampleMs: z.int().min(100).max(60_000).default(1_000),
  /** Random flows that every set of compiled tables is asked about before it is published (PO-2). */
  probeFlows: z.int().min(0).max(1_000_000).default(2_000),
  /** Where metrics are served; absent: nowhere. */
  metrics: metricsSchema.optional(),
  /** Where spans of transitions go; absent: nowhere. */
  traces: tracesSchema.optional(),
  /** Absent: no flow leaves the appliance by itself. */
  ipfix: ipfixSchema.optional(),
});

/** See {@link configSchema}. */
export type BridgeConfig = z.infer<typeof configSchema>;
