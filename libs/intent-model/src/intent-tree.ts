/**
 * The tree `intent`: for which devices the document of intent has a tree.
 * Written by `npm run yang:types` from the modules that yang/trees.json names for it; it must not be changed by hand.
 */

/** A whole document of the tree. */
export interface IntentTree {
  /** Keyed by id. */
  readonly 'kedge-intent:device'?: readonly Device[];
}

/** A device that is meant to be something, with its tree. `/device` */
export interface Device {
  /**
   * The device, by its name in the inventory of the site. That it is there spans trees: whoever validates the
   * document looks.
   */
  readonly id: string;
}
