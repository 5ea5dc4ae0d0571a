/**
 * Front door of the schema of the intent.
 * It must not hold code of its own.
 */
export { type IntentSchemaOptions, openIntentSchema, type OpenIntentSchema } from './intent-schema.js';
