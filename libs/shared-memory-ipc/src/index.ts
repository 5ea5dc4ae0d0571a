/**
 * Shared-memory segments with one writer each, futex wake-ups and a native listener.
 * Must not know what a posture transition is for: it opens, checks, reads, stores and rings.
 */
export {};
