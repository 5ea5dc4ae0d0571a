/**
 * What the parts of the quartermaster log with.
 * It must not write anywhere.
 */
export interface QuartermasterLog {
  info(fields: object, text: string): void;
  warn(fields: object, text: string): void;
  error(fields: object, text: string): void;
}
