/**
 * The front door of the IPFIX library.
 * It must not hold code of its own.
 */
export { addressBytes } from './address.js';
export { decodeMessage, TemplateMemory } from './decoder.js';
export type { DecodedMessage, DecodedRecord, DecodedValue } from './decoder.js';
export {
  APPLICATIONS_MAX,
  IpfixEncoder,
  LEAST_MESSAGE_BYTES,
  MESSAGE_BYTES,
  USER_DEFINED_ENGINE,
} from './encoder.js';
export type { IpfixOptions } from './encoder.js';
export { FLOW_ENDS, VERDICTS } from './flow.js';
export type { IpfixFlow, IpfixZone } from './flow.js';
export { DOCUMENTATION_ENTERPRISE, ELEMENTS } from './templates.js';
export type { Element, ElementName } from './templates.js';
