/**
 * The front door of the command as a package: what its text looks like, for the documentation's tests.
 * It must not start anything.
 */
export { EXIT, exitOf } from './exit-status.js';
