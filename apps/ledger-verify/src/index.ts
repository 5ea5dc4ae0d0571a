/**
 * The front door of the program as a package: what it can find.
 * It must not start anything.
 */
export { type Finding, NOTICES, WHAT, type What } from './finding.js';
