/**
 * Questions and answers as bytes; what a real resolver makes of them is in names.test.ts.
 * Must not open a socket.
 */
import { describe, expect, it } from 'vitest';

import { answerTo, DNS_BYTES, DNS_TYPES, questionOf } from './dns-message.js';

/** Numbers in hexadecimal, and labels in quotes with their length in front. */
function bytes(text: string): Uint8Array {
  return Uint8Array.from(
    text
      .trim()
      .split(/\s+/)
      .flatMap((word) =>
        word.startsWith('"')
          ? [word.length - 2, ...Buffer.from(word.slice(1, -1))]
          : [...Buffer.from(word, 'hex')],
      ),
  );
}

const HEADER = '1234 0100 0001 0000 0000 0000';
const ASKED = `${HEADER} "www" "kedge" "example" 00 0001 0001`;

describe('a question', () => {
  it('is read with its name in lower case, and with what stands behind it passed over', () => {
    const question = { id: 0x1234, recursionDesired: true, name: 'www.kedge.example', type: 1, class: 1 };
    expect(questionOf(bytes(ASKED))).toMatchObject(question);
    expect(questionOf(bytes(ASKED.replace('kedge', 'KeDGe')))).toMatchObject(question);
    const extended = ASKED.replace(/0000 (?="www")/, '0001 ');
    expect(questionOf(bytes(`${extended} 00 0029 04d0 00000000 0000`))).toMatchObject(question);
  });

  it('is none where it is an answer, of another kind, cut, too long, or does not hold what it says', () => {
    const wrong = [
      '',
      HEADER,
      ASKED.replace('0100', '8100'),
      ASKED.replace('0100', '2900'),
      ASKED.replace('0001 0000', '0002 0000'),
      ASKED.replace('0001 0000', '0001 0001'),
      ASKED.replace('"example" 00', 'c00c'),
      ASKED.replace('"www"', `"${'w'.repeat(64)}"`),
      ASKED.replace('"www"', `"${'w'.repeat(62)}" `.repeat(4)),
      ASKED.replace('"www"', '01 2e'),
      ASKED.replace(/ 0001$/, ''),
      `${ASKED} ${'00'.repeat(DNS_BYTES)}`,
    ];
    expect(wrong.map((text) => questionOf(bytes(text)))).toEqual(wrong.map(() => undefined));
    const whole = bytes(ASKED);
    for (let length = 0; length < whole.length; length += 1)
      expect(questionOf(whole.subarray(0, length))).toBeUndefined();
  });
});

describe('an answer', () => {
  const question = questionOf(bytes(ASKED));
  if (question === undefined) throw new Error('the question is one');

  it('repeats the question and has a record for each address', () => {
    expect(answerTo(question, [Uint8Array.of(10, 77, 0, 40)])).toEqual(
      bytes(
        '1234 8500 0001 0001 0000 0000 "www" "kedge" "example" 00 0001 0001 c00c 0001 0001 00000000 0004 0a4d0028',
      ),
    );
    const six = answerTo({ ...question, type: DNS_TYPES.aaaa }, [new Uint8Array(16), new Uint8Array(16)]);
    expect(six.length).toBe(bytes(ASKED).length + 2 * 28);
  });

  it('tells a name that is not there from one without such an address', () => {
    expect(answerTo(question, undefined).subarray(2, 8)).toEqual(bytes('8503 0001 0000'));
    expect(answerTo(question, []).subarray(2, 8)).toEqual(bytes('8500 0001 0000'));
  });
});
