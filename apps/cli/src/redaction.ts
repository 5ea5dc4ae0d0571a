/**
 * Takes secrets out of what leaves the appliance: by the name that they stand under, by how they look, and, once
 * one is known, wherever it appears again.
 * It must rather take too much than too little, and must not read anything itself.
 */

/** What stands in the place of a secret. */
export const REDACTED = '[secret]';

/** Words of a name that say that a secret stands under it, wherever in the name they are. */
const SECRET_WORD =
  /passw|passphrase|passcode|secret|token|credential|^(private|preshared|psk|bearer|cookies?|jwt|hmac|t?otp|pin|seed|salt|mnemonic|dsn|authori[sz]ation)$|^(api|private|auth|preshared|session|signing|encryption|access|shared|master|wg)keys?$/;
/** Words that say so at the end of a name, unless the word before them says otherwise. */
const SECRET_END = /^(keys?|pass|auth)$/;
const OPEN_BEFORE = /^(public|idempotency|pair|entry|minimum|neighbour)$/;
/** Values that are nobody's secret wherever they stand. */
const HARMLESS = /^(true|false|null|undefined|yes|no|on|off|none|\d{1,6})$/i;
/** Shorter values are not looked for elsewhere: they would take words out of sentences. */
const SHORTEST_KNOWN = 6;

/** True for a name that says that a secret stands under it, in any spelling: mqttPassword, private-key, API_TOKEN. */
export function isSecretName(name: string): boolean {
  const words = name
    .replace(/([a-z0-9])([A-Z])/g, '$1 $2')
    .toLowerCase()
    .split(/[^a-z0-9]+/)
    .filter((word) => word !== '');
  if (words.some((word) => SECRET_WORD.test(word))) return true;
  return SECRET_END.test(words.at(-1) ?? '') && !OPEN_BEFORE.test(words.at(-2) ?? '');
}

/** Data without secrets, and the secrets that were found in it by their names. */
export interface Redacted {
  readonly value: unknown;
  readonly secrets: readonly string[];
}

/** Walks through data; everything under a secret name goes, whatever is in it. */
export function redactData(data: unknown): Redacted {
  const secrets: string[] = [];
  const keep = (value: unknown): void => {
    if (typeof value === 'string') secrets.push(value);
    else if (typeof value === 'number' || typeof value === 'bigint') secrets.push(String(value));
    else if (typeof value === 'object' && value !== null) for (const each of Object.values(value)) keep(each);
  };
  const walk = (value: unknown, depth: number): unknown => {
    if (depth > 64) return REDACTED;
    if (Array.isArray(value)) return value.map((each) => walk(each, depth + 1));
    if (typeof value !== 'object' || value === null) return value;
    return Object.fromEntries(
      Object.entries(value).map(([name, each]: [string, unknown]) => {
        if (!isSecretName(name) || each === null || typeof each === 'boolean') {
          return [name, walk(each, depth + 1)];
        }
        keep(each);
        return [name, REDACTED];
      }),
    );
  };
  return { value: walk(data, 0), secrets };
}

const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i;

/** Whether a run of characters looks like a key, a token or a hash. Paths, names and numbers do not. */
function looksSecret(word: string): boolean {
  if (UUID.test(word)) return false;
  const bare = word.replace(/=+$/, '');
  const digits = bare.replace(/[^0-9]/g, '').length;
  if (digits === 0 && bare.length < 40) return false;
  if (/^[0-9]+$/.test(bare)) return false;
  // Lower-case words joined by strokes and dashes: a path, a name, a date.
  if (/[/_-]/.test(bare) && bare.split(/[/_-]/).every((part) => /^([a-z]*|\d*|[a-z]+\d{1,4})$/.test(part)))
    return false;
  const mixed = /[a-z]/.test(bare) && /[A-Z]/.test(bare);
  return (
    mixed || /^[0-9a-f]{32,}$/i.test(bare) || (digits >= 3 && /[a-z]{1}/i.test(bare) && !/[/]/.test(bare))
  );
}

const RULES: readonly (readonly [pattern: RegExp, replacement: string | ((...parts: string[]) => string)])[] =
  [
    // Keys in PEM, whole, or from a line that begins or ends one.
    [/-----BEGIN [^-\n]*-----[\s\S]*?(-----END [^-\n]*-----|$)/g, REDACTED],
    [/^[\s\S]{0,8192}?-----END [^-\n]*-----/g, REDACTED],
    // Credentials inside of addresses.
    [/([a-z][a-z0-9+.-]*:\/\/)[^\s/@"']+@/gi, `$1${REDACTED}@`],
    [/\b(bearer|basic|digest|negotiate)(\s+|%20)[^\s"',;]{4,}/gi, `$1 ${REDACTED}`],
    // --password value
    [
      /(--?[A-Za-z][\w-]{1,63})(\s+)([^\s"'-][^\s"']*)/g,
      (whole, name, between) => (isSecretName(name) ? `${name}${between}${REDACTED}` : whole),
    ],
    // What signs itself: a header in base64, and what follows it.
    [/\beyJ[\w-]{5,}(\.[\w-]*){0,4}/g, REDACTED],
    [/[A-Za-z0-9+/_=-]{24,}/g, (word) => (looksSecret(word) ? REDACTED : word)],
  ];

/** A name with what stands between it and its value: name=value, name: value, "name":"value", also inside of JSON. */
const NAME = /([A-Za-z][\w.-]{0,63}(?: key)?)(?:\\*["'])?\s*[:=]\s*/g;
/** A value: in quotes, whatever has escaped them, or up to what may separate it; rather too much than half of it. */
const VALUE = /(\\*)"(.*?)(?<!\\)\1"|'([^'\n]*)'|[^\n,;&}\]"']+/y;

/** Takes the values of secret names out of text. */
function withoutNamed(text: string): string {
  let out = '';
  let from = 0;
  NAME.lastIndex = 0;
  for (let found = NAME.exec(text); found !== null; found = NAME.exec(text)) {
    if (!isSecretName(found[1] ?? '')) continue;
    VALUE.lastIndex = NAME.lastIndex;
    const value = VALUE.exec(text);
    if (value === null) continue;
    const bare = value[2] ?? value[3] ?? value[0];
    if (bare === '' || bare === REDACTED || HARMLESS.test(bare)) continue;
    const at = VALUE.lastIndex - value[0].length + value[0].indexOf(bare);
    out += `${text.slice(from, at)}${REDACTED}`;
    from = at + bare.length;
    NAME.lastIndex = VALUE.lastIndex;
  }
  return out + text.slice(from);
}

/**
 * Text without secrets.
 *
 * @param known secrets found elsewhere; every appearance of one goes, also inside of other words.
 */
export function redactText(text: string, known: Iterable<string> = []): string {
  let out = text;
  const forms = [...known]
    .filter((secret) => secret.length >= SHORTEST_KNOWN && !HARMLESS.test(secret))
    .flatMap((secret) => {
      // As it is, as it stands in JSON, in addresses, and in base64.
      const json = JSON.stringify(secret).slice(1, -1);
      return [
        secret,
        json,
        encodeURIComponent(secret),
        Buffer.from(secret).toString('base64').replace(/=+$/, ''),
      ];
    });
  for (const secret of [...new Set(forms)].sort((a, b) => b.length - a.length)) {
    out = out.replaceAll(secret, REDACTED);
  }
  out = withoutNamed(out);
  for (const [pattern, replacement] of RULES) {
    out =
      typeof replacement === 'string' ? out.replace(pattern, replacement) : out.replace(pattern, replacement);
  }
  return out;
}

/** Lines of `name = value`, as the warden's configuration has them, without secrets; and the secrets. */
export function secretsInLines(text: string): readonly string[] {
  return text.split('\n').flatMap((line) => {
    const [, name = '', value = ''] = /^\s*([\w.-]+)\s*[:=]\s*(.+?)\s*$/.exec(line) ?? [];
    const inner = /^([A-Za-z_]\w*)=(.*)$/.exec(value);
    if (inner !== null && isSecretName(inner[1] ?? '')) return [(inner[2] ?? '').replace(/^["']|["']$/g, '')];
    return isSecretName(name) && value !== '' ? [value.replace(/^["']|["']$/g, '')] : [];
  });
}
