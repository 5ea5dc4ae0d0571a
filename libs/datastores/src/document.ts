/**
 * A document of intent: a tree of RFC 7951 as canonical JSON text, and the hash by which it is known.
 * It must not know what the tree means; a schema that is given elsewhere does.
 */
import type { PlanValue } from '@kedge/contracts';
import { canonicalText, type Sha256 } from '@kedge/reconcile';

import { type IntentRefusal, refusal } from './refusal.js';

/** Lists and containers inside each other, at most. */
export const LEVELS_MAX = 64;
/** Largest document in bytes of canonical text, where nothing else is said. */
export const DOCUMENT_BYTES_MAX = 16 * 1024 * 1024;

/** A container of a tree: members by their names. */
export type Container = { readonly [name: string]: PlanValue };

/** A document as it is kept. */
export interface IntentDocument {
  /** Canonical JSON (RFC 8785), an object. */
  readonly text: string;
  /** SHA-256 of the text's UTF-8, hexadecimal. */
  readonly hash: string;
  /** Length of the text in UTF-8. */
  readonly bytes: number;
}

/** What documents are made with. */
export interface DocumentRules {
  readonly sha256: Sha256;
  /** See {@link DOCUMENT_BYTES_MAX}. */
  readonly documentBytes: number;
}

/** The document with nothing in it. */
export const EMPTY_TEXT = '{}';

const STRING = /"(?:[^"\\]|\\.)*"/g;

/**
 * The document that JSON text stands for, in its canonical form; `INTENT_DOCUMENT` where it is no tree of RFC 7951:
 * no object, a name twice, a number that is not whole and below 2^53, half a character, too deep.
 */
export function documentFrom(text: string, rules: DocumentRules): IntentDocument | IntentRefusal {
  if (utf8Bytes(text) > 4 * rules.documentBytes) return tooLarge(utf8Bytes(text), rules);
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    return wrong(cause instanceof Error ? `it is no JSON: ${cause.message}` : 'it is no JSON', 'JSON');
  }
  const counted = membersIn(value, 0);
  if (typeof counted === 'string') return wrong(counted, 'a tree in the JSON of RFC 7951');
  // Of a name that stands twice the parser takes the last one and says nothing.
  if (text.replaceAll(STRING, '').split(':').length - 1 !== counted) {
    return wrong('a name stands twice in one object', 'every name once');
  }
  return documentOf(value as PlanValue, rules);
}

/** The document of a tree that is one of RFC 7951. */
export function documentOf(value: PlanValue, rules: DocumentRules): IntentDocument | IntentRefusal {
  if (value === null || typeof value !== 'object' || Array.isArray(value)) {
    return wrong('it is no object', 'an object with the top-level nodes');
  }
  const text = canonicalText(value);
  const bytes = utf8Bytes(text);
  if (bytes > rules.documentBytes) return tooLarge(bytes, rules);
  return { text, hash: rules.sha256(text), bytes };
}

/** The tree of a document. It is made anew each time, nobody else has it. */
export function treeOf({ text }: Pick<IntentDocument, 'text'>): Container {
  return JSON.parse(text) as Container;
}

/** How many members all objects of a value have together; a sentence where it is no tree. */
export function membersIn(value: unknown, level: number): number | string {
  switch (typeof value) {
    case 'boolean':
      return 0;
    case 'number':
      return Number.isSafeInteger(value) ? 0 : `the number ${value} is not whole and below 2^53`;
    case 'string':
      return /\p{Cs}/u.test(value) ? 'a string has half a character in it' : 0;
    case 'object':
      break;
    default:
      return `a ${typeof value} stands in it`;
  }
  if (value === null) return 0;
  if (level >= LEVELS_MAX) return `it is more than ${LEVELS_MAX} levels deep`;
  let count = 0;
  const items: readonly unknown[] = Array.isArray(value) ? value : Object.values(value);
  if (!Array.isArray(value)) {
    count += items.length;
    for (const name of Object.keys(value))
      if (/\p{Cs}/u.test(name)) return 'a name has half a character in it';
  }
  for (const item of items) {
    const inside = membersIn(item, level + 1);
    if (typeof inside === 'string') return inside;
    count += inside;
  }
  return count;
}

/** Length of a text in UTF-8, in bytes. */
export function utf8Bytes(text: string): number {
  let bytes = text.length;
  for (let at = 0; at < text.length; at++) {
    const unit = text.charCodeAt(at);
    // Two units make one character of four bytes.
    if (unit >= 0x80) bytes += unit >= 0x800 && (unit < 0xd800 || unit > 0xdfff) ? 2 : 1;
  }
  return bytes;
}

function wrong(what: string, expected: string): IntentRefusal {
  return refusal({
    code: 'INTENT_DOCUMENT',
    message: `cannot take the document: ${what}`,
    field: 'document',
    expected,
  });
}

function tooLarge(bytes: number, { documentBytes }: DocumentRules): IntentRefusal {
  return refusal({
    code: 'INTENT_DOCUMENT_SIZE',
    message: `cannot take the document: it has ${bytes} bytes`,
    field: 'document',
    expected: `at most ${documentBytes} bytes`,
  });
}
