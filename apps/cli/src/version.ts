/**
 * The version of the command, which is that of its release.
 * It must hold nothing else: it is loaded with every help text.
 */
export const VERSION = '0.1.0';
