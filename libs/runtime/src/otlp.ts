/**
 * Spans as OTLP says them in JSON (opentelemetry-proto, trace/v1: hexadecimal ids, 64-bit numbers as text).
 * It must not send anything, nor read a clock.
 */
import { type Span, spanIdOf, traceIdOf } from '@kedge/contracts';

/** Whose spans they are. */
export interface SpanSource {
  /** Name of the service. */
  readonly service: string;
  readonly appliance: string;
  /** /proc/sys/kernel/random/boot_id. */
  readonly bootId: string;
}

const KIND_INTERNAL = 1;
const STATUS = { unset: 0, error: 2 } as const;

type Value = string | number | bigint | boolean;

function attribute(key: string, value: Value) {
  if (typeof value === 'string') return { key, value: { stringValue: value } };
  if (typeof value === 'boolean') return { key, value: { boolValue: value } };
  if (typeof value === 'number' && !Number.isInteger(value)) return { key, value: { doubleValue: value } };
  return { key, value: { intValue: value.toString() } };
}

/**
 * One ExportTraceServiceRequest.
 *
 * @param offsetNs from CLOCK_MONOTONIC to the wall clock.
 */
export function otlpOf({ service, appliance, bootId }: SpanSource, spans: readonly Span[], offsetNs: bigint) {
  return {
    resourceSpans: [
      {
        resource: {
          attributes: [
            attribute('service.namespace', 'kedge'),
            attribute('service.name', service),
            attribute('service.instance.id', appliance),
          ],
        },
        scopeSpans: [
          {
            scope: { name: 'kedge.transition' },
            spans: spans.map(({ epoch, place, parent, name, startNs, endNs, failed, attributes }) => ({
              traceId: traceIdOf(bootId, epoch),
              spanId: spanIdOf(epoch, place),
              ...(parent === undefined ? {} : { parentSpanId: spanIdOf(epoch, parent) }),
              name,
              kind: KIND_INTERNAL,
              startTimeUnixNano: (startNs + offsetNs).toString(),
              endTimeUnixNano: (endNs + offsetNs).toString(),
              attributes: [
                attribute('kedge.epoch', epoch),
                ...Object.entries(attributes).map(([key, value]) => attribute(`kedge.${key}`, value)),
              ],
              status: { code: failed ? STATUS.error : STATUS.unset },
            })),
          },
        ],
      },
    ],
  };
}
