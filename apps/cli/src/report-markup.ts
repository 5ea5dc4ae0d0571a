/**
 * Text that is markup, apart from text that is not: whatever is put into a template is escaped unless it is
 * markup already.
 * It must not know what a report is.
 */

/** Markup that may stand in a page as it is. Made by {@link markup} alone. */
export class Markup {
  constructor(readonly text: string) {}
  toString(): string {
    return this.text;
  }
}

export type Piece = string | number | bigint | Markup | undefined | readonly Piece[];

const ESCAPES: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&#39;',
  '`': '&#96;',
};

/** Text as it may stand between tags and in quoted attributes; what no page may hold becomes �. */
export function escaped(text: string): string {
  return (
    text
      .replace(/[&<>"'`]/g, (character) => ESCAPES[character] ?? '')
      // Halves of characters, control characters, and those that turn the direction of what follows.
      .replace(/[\p{Cs}\p{Cc}\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]/gu, (character) =>
        character === '\n' || character === '\t' ? ' ' : '\ufffd',
      )
  );
}

function textOf(piece: Piece): string {
  if (piece === undefined) return '';
  if (piece instanceof Markup) return piece.text;
  if (typeof piece === 'object') return piece.map(textOf).join('');
  return escaped(String(piece));
}

/** A template whose holes are escaped; attributes have to be quoted. */
export function markup(strings: TemplateStringsArray, ...holes: readonly Piece[]): Markup {
  return new Markup(strings.reduce((text, part, at) => text + textOf(holes[at - 1]) + part));
}
