/**
 * Paths with values in them, put together so that a value cannot become a part of the path.
 * Must not look at any module.
 */
import { wrongArgument } from './yang-error.js';

/**
 * A path, or an XPath expression, with every inserted value as a quoted literal:
 * yangPath`/ietf-interfaces:interfaces/interface[name=${name}]`.
 *
 * @throws YangError `YANG_ARGUMENT` for a value with both kinds of quotes, which no path can hold
 */
export function yangPath(
  parts: TemplateStringsArray,
  ...values: readonly (string | number | bigint | boolean)[]
): string {
  const literal = (value: string | number | bigint | boolean): string => {
    const text = String(value);
    if (text.includes('\0') || (text.includes("'") && text.includes('"')))
      throw wrongArgument(
        'write a YANG path',
        'value',
        'a value without NUL that has not both kinds of quotes',
      );
    return text.includes("'") ? `"${text}"` : `'${text}'`;
  };
  return parts.reduce((path, part, at) => path + literal(values[at - 1] ?? '') + part);
}
