/**
 * Watches a file of indicators of compromise (JSON Lines) and asks for the level that the gravest new one calls for.
 * It must not hold more of the file than one line and one indicator per level; the file may be as long as it likes.
 *
 * @typedef {import('@kedge/posture-source-kit').PostureSourceContext} Context
 * @typedef {import('@kedge/posture-source-kit').PostureLevel} Level
 * @typedef {{ id: string, severity: string, expires: number | undefined, description: string }} Indicator
 */

/** Levels that severities call for where the settings say nothing; no file makes a site unreachable by itself. */
const LEVELS = { critical: 2, high: 3, medium: 4, low: 5 };
const FIELDS = ['id', 'severity', 'expires', 'description'];
/** Longest name of an unknown field that is told of. */
const FIELD_MAX = 40;
/** Refused lines that are told of one by one; the rest is counted. */
const TOLD_MAX = 3;
// eslint-disable-next-line no-control-regex -- what goes into records stays on its line
const CONTROL = /[\u0000-\u001f\u007f-\u009f\u2028\u2029]/u;
const RFC3339 = /^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(\.\d{1,9})?(Z|[+-]\d{2}:\d{2})$/;

/** A line that is no indicator: which field, and what was expected. */
class IndicatorError extends Error {
  /** @param {string} field @param {string} expected */
  constructor(field, expected) {
    super(`${field}: expected ${expected}`);
    this.code = 'INDICATOR_LINE';
    this.field = field;
  }
}

/**
 * The indicator of a line.
 *
 * @param {string} text
 * @param {boolean} cut
 * @returns {Indicator}
 * @throws {IndicatorError}
 */
export function indicatorOf(text, cut) {
  if (cut) throw new IndicatorError('line', 'at most 4096 bytes');
  /** @type {unknown} */
  let content;
  try {
    content = JSON.parse(text);
  } catch {
    throw new IndicatorError('line', 'one JSON object');
  }
  if (typeof content !== 'object' || content === null || Array.isArray(content)) {
    throw new IndicatorError('line', 'one JSON object');
  }
  const fields = /** @type {Record<string, unknown>} */ (content);
  const unknown = Object.keys(fields).find((field) => !FIELDS.includes(field));
  if (unknown !== undefined) {
    throw new IndicatorError(
      CONTROL.test(unknown) ? 'line' : unknown.slice(0, FIELD_MAX),
      `the fields ${FIELDS.join(', ')}`,
    );
  }
  const { id, severity, expires, description = '' } = fields;
  if (typeof id !== 'string' || !/^[!-~]{1,128}$/.test(id)) {
    throw new IndicatorError('id', '1 to 128 printable characters without spaces');
  }
  if (typeof severity !== 'string' || !Object.hasOwn(LEVELS, severity)) {
    throw new IndicatorError('severity', Object.keys(LEVELS).join(', '));
  }
  if (typeof description !== 'string' || description.length > 200 || CONTROL.test(description)) {
    throw new IndicatorError('description', 'at most 200 characters on one line');
  }
  if (expires === undefined) return { id, severity, expires: undefined, description };
  const at = typeof expires === 'string' && RFC3339.test(expires) ? Date.parse(expires) : NaN;
  if (Number.isNaN(at)) throw new IndicatorError('expires', 'a moment like 2026-12-01T00:00:00Z');
  return { id, severity, expires: at, description };
}

/**
 * The level of each severity, out of the settings.
 *
 * @param {Context['settings']} settings
 * @returns {Record<string, Level>}
 */
export function levelsOf(settings) {
  return Object.fromEntries(
    Object.entries(LEVELS).map(([severity, usual]) => {
      const level = settings[severity] ?? usual;
      if (![1, 2, 3, 4, 5].includes(/** @type {number} */ (level))) {
        throw new RangeError(`the setting ${severity} must be a level from 1 to 5`);
      }
      return [severity, /** @type {Level} */ (level)];
    }),
  );
}

/** The same text has the same key: FNV-1a over its characters, twice. @param {string} text */
function keyOf(text) {
  let [a, b] = [0x811c9dc5, 0x1000193];
  for (let at = 0; at < text.length; at += 1) {
    a = Math.imul(a ^ text.charCodeAt(at), 0x01000193);
    b = Math.imul(b + text.charCodeAt(at), 0x85ebca6b) ^ (b >>> 13);
  }
  return `${(a >>> 0).toString(16).padStart(8, '0')}${(b >>> 0).toString(16).padStart(8, '0')}`;
}

/**
 * One pass over the file: the last indicator of each level that has not expired, and what is wrong with the rest.
 *
 * @param {Context} context
 * @param {Record<string, Level>} levels
 */
async function passOver(context, levels) {
  /** @type {Map<Level, Indicator>} */
  const newest = new Map();
  const told = [];
  let refused = 0;
  for await (const { number, text, cut } of context.lines('indicators')) {
    if (text.trim() === '' && !cut) continue;
    try {
      const indicator = indicatorOf(text, cut);
      if (indicator.expires !== undefined && indicator.expires <= context.now()) continue;
      const level = levels[indicator.severity];
      if (level !== undefined && level < 5) newest.set(level, indicator);
    } catch (error) {
      if (!(error instanceof IndicatorError)) throw error;
      refused += 1;
      if (told.length < TOLD_MAX) told.push(`line ${number}, ${error.message}`);
    }
  }
  const more = refused > told.length ? ` (and ${refused - told.length} more)` : '';
  return {
    newest,
    problem: refused === 0 ? undefined : `INDICATOR_LINE ${told.join('; ')}${more}`.slice(0, 400),
  };
}

/** @type {import('@kedge/posture-source-kit').PostureSourceModule} */
const indicatorFile = ({ definePostureSource }) =>
  definePostureSource({
    async run(context) {
      const levels = levelsOf(context.settings);
      /** What was asked for already, by level: an indicator asks once, also where somebody loosens later. */
      const asked = new Map();
      while (!context.signal.aborted) {
        const { newest, problem } = await passOver(context, levels);
        context.problem(problem);
        const fresh = [...newest]
          .filter(([level, { id }]) => asked.get(level) !== id)
          .sort(([a], [b]) => a - b);
        const [gravest] = fresh;
        if (gravest !== undefined) {
          const [level, { id, severity, description }] = gravest;
          const answer = await context.tighten({
            level,
            reason: `indicator ${id} is ${severity}${description === '' ? '' : `: ${description}`}`,
            key: `ioc-${level}-${keyOf(id)}`,
          });
          if (answer.outcome === 'refused' && answer.code === 'PLUGIN_RATE') {
            await context.sleep(1_000);
            continue;
          }
          for (const [each, indicator] of fresh) asked.set(each, indicator.id);
        }
        await context.changed('indicators');
      }
    },
  });

export default indicatorFile;
