/**
 * What a device back end is given and has to say: device trees as objects, drivers as data, and their conformance.
 * It must not reach a device, nor put changes into an order.
 */
export { canonicalAddress, isWithin, subnetOf } from './addresses.js';
export { type Conformance, conformanceOf, type Specimen } from './conformance.js';
export {
  capabilityOf,
  type DeviceObject,
  type DeviceObjects,
  instanceOf,
  interfacePath,
  isMade,
  OBJECT_KINDS,
  objectAt,
  type ObjectKind,
  type ObjectOf,
  objectsOf,
  type ObjectValues,
  routePath,
  STATIC_NAME,
  staticInstances,
  treeOf,
} from './device-object.js';
export {
  type AnyDriver,
  baseOf,
  type Change,
  changeOf,
  type Driver,
  driverFor,
  type DriverManifest,
  type DriverRefusal,
  type InventoryDevice,
  objectsAfter,
  type Reading,
  type Shaped,
} from './driver.js';
export { MADE_VLANS, type MadeFeatures, madeTree, type Pick, picksFrom } from './made-tree.js';
export { strangeNodes } from './strange-nodes.js';
export { type ToolWords } from './tool-words.js';
export { compareNames } from './text-order.js';
