/**
 * Shared-memory segments with one writer each, futex wake-ups and a native listener.
 * Must not know what a posture transition is for: it opens, checks, reads, stores and rings.
 */
export {
  createBpfArray,
  openBpfArray,
  type BpfAccess,
  type BpfArray,
  type BpfArrayShape,
  type BpfWatch,
  type BpfWatchCounts,
} from './bpf-map.js';
export { enums, layout, type Layout } from './layout.js';
export { listen, type Listener, type ListenerCounts } from './listener.js';
export { SegmentError, type SegmentErrorCode } from './segment-error.js';
export {
  crc32,
  createPostureSegment,
  createSegment,
  monotonicNs,
  openSegment,
  segmentKinds,
  verifyDirectory,
  wallOffsetNs,
  type AckLine,
  type PostureWriter,
  type SegmentHeader,
  type SegmentKind,
  type SegmentReader,
  type SegmentWriter,
  type Tightening,
  type TransitionLine,
} from './segment.js';
export { writerLives } from './writer-lives.js';
