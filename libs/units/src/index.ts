/**
 * Numbers with a meaning, and the one error class: what every package may use.
 * It must hold no rule about postures and nothing that touches the outside world.
 */
export * from './clock.js';
export * from './error.js';
export * from './posture.js';
