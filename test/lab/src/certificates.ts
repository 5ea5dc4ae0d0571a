/**
 * Certificates for tests: an authority, a receiver and a sender, made by openssl.
 * It must not leave the directory that it is given.
 */
import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

/** NAME.pem and NAME.key in the directory, signed by authority.pem. */
export function certificatesIn(directory: string): (name: string) => string {
  const openssl = (...args: string[]): void => {
    execFileSync('openssl', args, { cwd: directory, stdio: 'pipe' });
  };
  const key = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '2'];
  for (const authority of ['authority', 'stranger']) {
    const subject = ['-subj', `/CN=${authority}`, '-addext', 'basicConstraints=critical,CA:TRUE'];
    openssl('req', '-x509', ...key, ...subject, '-keyout', `${authority}.key`, '-out', `${authority}.pem`);
  }
  for (const name of ['receiver', 'sender']) {
    const request = ['-keyout', `${name}.key`, '-out', `${name}.csr`, '-subj', `/CN=${name}.example`];
    openssl('req', ...key.slice(0, -2), ...request);
    writeFileSync(join(directory, `${name}.ext`), `subjectAltName=DNS:${name}.example\n`);
    const signed = ['-CA', 'authority.pem', '-CAkey', 'authority.key', '-CAcreateserial', '-days', '2'];
    openssl(
      'x509',
      '-req',
      '-in',
      `${name}.csr`,
      ...signed,
      '-extfile',
      `${name}.ext`,
      '-out',
      `${name}.pem`,
    );
  }
  return (file) => readFileSync(join(directory, file), 'utf8');
}
