/**
 * The front door of the IPFIX export.
 * It must not hold code of its own.
 */
export { PENDING_MAX, UdpCollector } from './collector.js';
export { IpfixExport } from './ipfix-export.js';
export type { IpfixExportOptions } from './ipfix-export.js';
export { ipfixFlowOf } from './ipfix-flow.js';
export type { Moments } from './ipfix-flow.js';
