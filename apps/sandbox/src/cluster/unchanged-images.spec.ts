import { describe, expect, it } from 'vitest';
import { unchangedTag } from './unchanged-images';

const digests: Readonly<Record<string, string>> = { 'old postgresql': 'p1', 'old kafka': 'k1', 'new postgresql': 'p1', 'new kafka': 'k1', 'newer postgresql': 'p1', 'newer kafka': 'k2' };
const digestOf = (tag: string, name: string): string | undefined => digests[`${tag} ${name}`];
const running = ['localhost/settlement-postgresql:15-old', 'localhost/settlement-postgresql:15-old', 'localhost/settlement-kafka:old', 'localhost/settlement-gateway:old', 'localhost/other:1'];
const data = ['postgresql', 'kafka'] as const;

describe('the tag of what a deployment leaves as it is', () => {
  it('is the one that runs where the new one names the same images', () => {
    expect(unchangedTag(running, data, 'new', digestOf)).toBe('old');
  });
  it('is the new one where one of the images is another', () => {
    expect(unchangedTag(running, data, 'newer', digestOf)).toBe('newer');
  });
  it('is the new one where nothing runs yet', () => {
    expect(unchangedTag(['localhost/settlement-gateway:old'], data, 'new', digestOf)).toBe('new');
  });
  it('is the new one while two versions run', () => {
    expect(unchangedTag([...running, 'localhost/settlement-kafka:new'], data, 'new', digestOf)).toBe('new');
  });
  it('is the new one where nobody knows what the running one is', () => {
    expect(unchangedTag(['localhost/settlement-kafka:gone'], ['kafka'], 'new', digestOf)).toBe('new');
    expect(unchangedTag(['localhost/settlement-kafka:gone'], ['kafka'], 'gone as well', digestOf)).toBe('gone as well');
  });
});
