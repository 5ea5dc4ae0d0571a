/**
 * Secrets in every form in which services and people leave them.
 * Must not need an appliance.
 */
import { describe, expect, it } from 'vitest';

import { isSecretName, redactData, REDACTED, redactText, secretsInLines } from './redaction.js';

const B64 = 'qJ3x8Vt0Zp1LmN7rKcY5bW2uHdGfSaQeRoTi4yUjXk8=';
const PEM = `-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIPl\nzz9\n-----END PRIVATE KEY-----`;

describe('redaction', () => {
  it('knows the names under which secrets stand, in any spelling', () => {
    const secret = [
      ...[
        'password',
        'mqttPassword',
        'DB_PASS',
        'passphrase',
        'admin-passwd',
        'client_secret',
        'apiKey',
        'api-key',
      ],
      ...[
        'API_TOKEN',
        'token',
        'privateKey',
        'private-key',
        'PresharedKey',
        'psk',
        'wg-psk',
        'credentials',
        'Authorization',
      ],
      ...['cookie', 'sessionKey', 'signing-key', 'key', 'tls.key', 'hmac', 'jwt', 'totp', 'seed'],
    ];
    const open = [
      'monkey',
      'keyboard',
      'publicKey',
      'idempotencyKey',
      'path',
      'passed',
      'level',
      'compass',
      'author',
    ];
    expect(secret.filter((name) => !isSecretName(name))).toEqual([]);
    expect(open.filter(isSecretName)).toEqual([]);
  });

  it('takes everything under a secret name out of data, and remembers it', () => {
    const { value, secrets } = redactData({
      level: 5,
      broker: { url: 'mqtts://b', password: 'hunter22', tokens: ['a1', { inner: 'b2' }] },
      list: [{ privateKey: 'c3' }],
      token: null,
      psk: 4711,
    });
    expect(value).toEqual({
      level: 5,
      broker: { url: 'mqtts://b', password: REDACTED, tokens: REDACTED },
      list: [{ privateKey: REDACTED }],
      token: null,
      psk: REDACTED,
    });
    expect(secrets.toSorted()).toEqual(['4711', 'a1', 'b2', 'c3', 'hunter22']);
  });

  const TEXTS: readonly (readonly [text: string, secret: string])[] = [
    ['{"msg":"dial","password":"s3cr3t one"}', 's3cr3t one'],
    ['{"err":"{\\"token\\":\\"abcd1234\\"}"}', 'abcd1234'],
    ['db_password = hunter22', 'hunter22'],
    ['the passphrase: correct horse', 'horse'],
    ["passphrase: 'correct horse'", 'correct horse'],
    ['GET / authorization: Bearer abc.def.ghi', 'abc.def.ghi'],
    ['Authorization: Basic dXNlcjpwYXNz', 'dXNlcjpwYXNz'],
    ['connect postgres://kedge:pa55@db/x', 'pa55'],
    ['exec wg-quick --private-key zzz999 up', 'zzz999'],
    [`peer ${B64} allowed`, B64],
    [`key\n${PEM}\nafter`, 'MC4CAQAwBQYDK2VwBCIEIPl'],
    ['zz9qqq\n-----END PRIVATE KEY-----\nafter', 'zz9qqq'],
    ['-----BEGIN EC PRIVATE KEY-----\nMHcCAQEE', 'MHcCAQEE'],
    [`eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N`, 'dozjgNryP4J3jVmNHl0w5N'],
    [`sha ${'0123456789abcdef'.repeat(4)}`, '0123456789abcdef0123'],
    ['code jbswy3dpehpk3pxpjbswy3dp', 'jbswy3dpehpk3pxp'],
    ['AWS_SECRET_ACCESS_KEY=wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY', 'wJalrXUtnFEMI'],
  ];
  it.for(TEXTS)('takes the secret out of %j', ([text, secret]) => {
    const open = redactText(text);
    expect(open).not.toContain(secret);
    expect(open).toContain(REDACTED);
  });

  it('leaves what is nobody’s secret', () => {
    const text = [
      '{"level":"info","time":"2026-03-01T08:00:00.123Z","epoch":"281474976710655","msg":"a transition ended"}',
      '/proc/4466/root/run/kedge/state/posture-coordinator/decisions.journal',
      'boot 6f1c0e9a-3f0b-4a52-9f67-0d8a3d9f2b11, posture-transition/site-7/123456789012',
      '--board /run/kedge/board --owner posture=64701 --port kp-management=1',
      'fd77:0:0:0:0:0:0:10 10.77.0.10 02:4b:65:64:00:10 kedge-5.10.0-amd64-lab-forwarder-reference',
    ].join('\n');
    expect(redactText(text)).toBe(text);
  });

  it('takes a known secret out wherever it appears, in every form', () => {
    const secret = 'two words & "quotes"';
    const forms = [
      secret,
      JSON.stringify({ note: secret }),
      `https://x/?q=${encodeURIComponent(secret)}`,
      Buffer.from(secret).toString('base64'),
      `prefix${secret}suffix`,
    ];
    for (const form of forms) {
      const open = redactText(form, [secret]);
      expect(open, form).toContain(REDACTED);
      expect(open, form).not.toContain('two words');
      expect(open, form).not.toContain('two%20words');
    }
    // Words too short to be secrets would tear sentences apart.
    expect(redactText('a true story of 5', ['a', 'true', '5'])).toBe('a true story of 5');
  });

  it('finds the secrets in lines of configuration', () => {
    expect(
      secretsInLines(
        '# note\nboard = /run\nenvironment = API_TOKEN=xyz123456\n  client.secret = "quoted one"',
      ),
    ).toEqual(['xyz123456', 'quoted one']);
  });
});
