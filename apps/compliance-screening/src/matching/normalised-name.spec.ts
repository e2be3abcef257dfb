import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { normalisedName } from './normalised-name';

describe('normalised name', () => {
  it.each([
    ['POTEKHIN, Danil', 'danil potekhin'],
    ['Pérez Núñez, José', 'jose nunez perez'],
    ['Łukasz Øster', 'lukasz oster'],
    ['AERO-CARIBBEAN', 'aero caribbean'],
    ["Ts'elot O’Neil", 'oneil tselot'],
    ['Straße', 'strasse'],
    ['ＡＢＣ Ltd.', 'abc ltd'],
    ['Сергей Потехин', 'potekhin sergey'],
    ['Юлия Щукина', 'shchukina yuliya'],
    ['*** !!!', ''],
  ])('%s is %s', (name, expected) => {
    expect(normalisedName(name)).toBe(expected);
  });

  it('does not change when it is applied again, and does not depend on order or letter case', () => {
    fc.assert(
      fc.property(fc.array(fc.stringMatching(/^[A-Za-z]{1,8}$/), { minLength: 1, maxLength: 5 }), (words) => {
        const name = normalisedName(words.join(' '));
        expect(normalisedName(name)).toBe(name);
        expect(normalisedName([...words].reverse().join(', ').toUpperCase())).toBe(name);
      }),
    );
    fc.assert(fc.property(fc.string({ unit: 'binary', maxLength: 40 }), (text) => {
      expect(normalisedName(normalisedName(text))).toBe(normalisedName(text));
    }));
  });
});
