/**
 * What every service of an appliance needs to run; the one library that knows NestJS.
 * It must not know what any service does.
 */
export { BOARD, BoardContext, BoardTransport, type BoardTransportOptions } from './board-transport.js';
export { loadConfig, Secret, secretSchema } from './config.js';
export {
  type CallAuthority,
  postureEntrances,
  type SocketEntrance,
  UnixGrpcTransport,
  type UnixGrpcOptions,
} from './grpc-transport.js';
export { createLogger, type Logger, type LogOptions } from './logging.js';
export { metricsSchema, type MetricsSettings, openMetrics, type OpenMetrics } from './metrics.js';
export { openTraces, Traces, type TracesOptions, tracesSchema, type TracesSettings } from './traces.js';
export { type Heart, runService, type ServiceOptions, type ServiceParts } from './service.js';
