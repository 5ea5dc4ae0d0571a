/**
 * The socket directories of an appliance by name.
 * It must hold names only: it is loaded with every help text.
 */

/** The ways in that a command can take, from most to least trusted; the console has to be asked for. */
export const WAYS_IN = [
  'console',
  'local/site_owner',
  'local/master',
  'local/journeyman',
  'local/apprentice',
] as const;
export type WayIn = (typeof WAYS_IN)[number];
