/**
 * What a posture transition is: the pure state machine, the accords, the zones and the journal format.
 * It must not touch the outside world: clocks, files and memory are somebody else's.
 */
export * from './journal-record.js';
