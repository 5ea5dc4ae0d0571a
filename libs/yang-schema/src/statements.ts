/**
 * Reads YANG text into its statements (RFC 7950 §6): keyword, argument, substatements, and where each stands.
 * It must not know what a statement means; modules that make no sense are read all the same.
 */
import { KedgeError } from '@kedge/units';

/** One statement. */
export interface Statement {
  /** As written, a prefix of an extension included. */
  readonly keyword: string;
  /** Its argument with quotes taken off and parts joined; absent where there is none. */
  readonly argument?: string;
  /** Line of the keyword, counted from 1. */
  readonly line: number;
  /** Column of the keyword, counted from 1. */
  readonly column: number;
  readonly children: readonly Statement[];
}

interface Token {
  readonly kind: 'word' | 'quoted' | '{' | '}' | ';' | 'end';
  readonly text: string;
  readonly at: number;
}

/**
 * The statements of a text, in its order; one for a module, several where several modules stand behind each other.
 *
 * @param text the text of a module, or what yanglint prints.
 * @param name what messages call the text, as a rule its file.
 * @throws KedgeError `SCHEMA_SYNTAX`, with line and column in the message.
 */
export function statementsOf(text: string, name: string): Statement[] {
  const lines = [0];
  for (let at = text.indexOf('\n'); at !== -1; at = text.indexOf('\n', at + 1)) lines.push(at + 1);
  const place = (at: number): { line: number; column: number } => {
    let [low, high] = [0, lines.length - 1];
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if ((lines[middle] ?? 0) <= at) low = middle;
      else high = middle - 1;
    }
    return { line: low + 1, column: at - (lines[low] ?? 0) + 1 };
  };
  const fail = (at: number, what: string): KedgeError => {
    const { line, column } = place(at);
    return new KedgeError({
      code: 'SCHEMA_SYNTAX',
      message: `cannot read ${name}: ${String(line)}:${String(column)}: ${what}`,
      field: name,
      expected: 'statements of YANG 1.1 (RFC 7950)',
    });
  };

  let at = 0;
  const skip = (): void => {
    for (;;) {
      while (/\s/.test(text.charAt(at))) at += 1;
      const begun = at;
      if (text.startsWith('//', at)) at = endOr(text.indexOf('\n', at), text.length);
      else if (text.startsWith('/*', at)) {
        const end = text.indexOf('*/', at + 2);
        if (end === -1) throw fail(begun, 'a comment that does not end');
        at = end + 2;
      } else return;
    }
  };
  const next = (): Token => {
    skip();
    const from = at;
    const first = text.charAt(at);
    if (first === '') return { kind: 'end', text: '', at };
    if (first === '{' || first === '}' || first === ';') {
      at += 1;
      return { kind: first, text: first, at: from };
    }
    if (first === "'" || first === '"') return { kind: 'quoted', text: quoted(first), at: from };
    while (at < text.length && !/[\s;{}]/.test(text.charAt(at))) at += 1;
    return { kind: 'word', text: text.slice(from, at), at: from };
  };
  const quoted = (quote: string): string => {
    const from = at;
    at += 1;
    while (text.charAt(at) !== quote) {
      if (text.charAt(at) === '') throw fail(from, 'a string that does not end');
      at += quote === '"' && text.charAt(at) === '\\' ? 2 : 1;
    }
    const raw = text.slice(from + 1, at);
    at += 1;
    if (quote === "'") return raw;
    return unindented(raw, place(from).column).replace(/\\([\s\S])/g, (all, letter: string) => {
      const meant = { n: '\n', t: '\t', '"': '"', '\\': '\\' }[letter];
      if (meant === undefined) throw fail(from, `a string with ${all}, which is no escape`);
      return meant;
    });
  };
  const block = (depth: number): Statement[] => {
    const found: Statement[] = [];
    for (;;) {
      const keyword = next();
      if (keyword.kind === 'end' && depth === 0) return found;
      if (keyword.kind === '}' && depth > 0) return found;
      if (keyword.kind !== 'word') throw fail(keyword.at, 'a keyword was expected');
      let token = next();
      let argument: string | undefined;
      if (token.kind === 'word' || token.kind === 'quoted') {
        argument = token.text;
        const joins = token.kind === 'quoted';
        token = next();
        while (joins && token.kind === 'word' && token.text === '+') {
          const part = next();
          if (part.kind !== 'quoted') throw fail(part.at, 'a quoted string was expected after +');
          argument += part.text;
          token = next();
        }
      }
      if (token.kind !== ';' && token.kind !== '{') throw fail(token.at, 'a ; or { was expected');
      found.push({
        keyword: keyword.text,
        ...(argument === undefined ? {} : { argument }),
        ...place(keyword.at),
        children: token.kind === '{' ? block(depth + 1) : [],
      });
    }
  };
  return block(0);
}

function endOr(found: number, otherwise: number): number {
  return found === -1 ? otherwise : found;
}

/** A string of several lines without the blanks that only line it up (RFC 7950 §6.1.3). */
function unindented(value: string, column: number): string {
  return value
    .split('\n')
    .map((line, number, all) => {
      const trimmed = number === all.length - 1 ? line : line.trimEnd();
      if (number === 0) return trimmed;
      let [at, width] = [0, 0];
      while (width < column && (trimmed.charAt(at) === ' ' || trimmed.charAt(at) === '\t')) {
        width += trimmed.charAt(at) === '\t' ? 8 : 1;
        at += 1;
      }
      return trimmed.slice(at);
    })
    .join('\n');
}

/** The first substatement with this keyword. */
export function childOf(statement: Statement, keyword: string): Statement | undefined {
  return statement.children.find((child) => child.keyword === keyword);
}

/** The argument of the first substatement with this keyword. */
export function argumentOf(statement: Statement, keyword: string): string | undefined {
  return childOf(statement, keyword)?.argument;
}

/** The statement and everything in it, with what each stands in, from the outside to the inside. */
export function* walk(
  statement: Statement,
  within: readonly Statement[] = [],
): Generator<{ readonly statement: Statement; readonly within: readonly Statement[] }> {
  yield { statement, within };
  const deeper = [...within, statement];
  for (const child of statement.children) yield* walk(child, deeper);
}
