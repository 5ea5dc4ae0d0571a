/**
 * Front door of the schema tools.
 * It must not hold code of its own.
 */
export { argumentOf, childOf, type Statement, statementsOf, walk } from './statements.js';
export { compiled, type Refusal, type RefusalKind, refusalOf } from './yanglint.js';
export { type Schema, schemaFrom, type SchemaNode, schemaOf, type SchemaType } from './schema.js';
export {
  type Exemption,
  type LintedModule,
  type LintFault,
  lintFaults,
  type RuleName,
  RULES,
} from './lint.js';
export { typesOf, type WrittenTypes } from './types.js';
export { typeFiles, writeTypes } from './write-types.js';
