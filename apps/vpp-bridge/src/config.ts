/**
 * The configuration of the bridge: one strict schema.
 * It must not read files; `loadConfig` does.
 */
import { metricsSchema } from '@kedge/runtime';
import { z } from 'zod';

const path = z.string().regex(/^\/[^\0]*$/, 'expected an absolute path');
const uid = z.int().min(0).max(4_294_967_294);

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
});

/** See {@link configSchema}. */
export type BridgeConfig = z.infer<typeof configSchema>;
