/**
 * The contracts between the parts of Kedge: types, and schemas where data crosses a process.
 * It must stay pure: no Node API, no NestJS, no adapter, no policy.
 */
export * from './authorisation.js';
export * from './metrics.js';
export * from './mutation.js';
export * from './plan.js';
export * from './plugin.js';
export * from './record.js';
export * from './record-facts.js';
export * from './trace.js';
export * from './vocabulary.js';
