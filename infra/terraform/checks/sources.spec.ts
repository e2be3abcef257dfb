import { describe, expect, it } from 'vitest';
import { blocksOf } from './hcl';
import { sourcePolicies, sourcesOfRepository } from './sources';

const sources = sourcesOfRepository();

describe('the reader of HCL', () => {
  const text = `
# a comment with a { brace
resource "aws_x" "it" { # and another }
  name   = "a \${var.b} { c"
  object = { a = 1 }
  lifecycle {
    prevent_destroy = true
  }
}
provider "aws" {}
`;
  it('finds blocks, their labels and what is in them, and is not misled by comments and strings', () => {
    const [resource, provider] = blocksOf(text);
    expect([resource?.type, resource?.labels, provider?.type]).toEqual(['resource', ['aws_x', 'it'], 'provider']);
    expect(resource?.blocks.map(({ type }) => type)).toEqual(['lifecycle']);
    expect([...(resource?.attributes.keys() ?? [])]).toEqual(['name', 'object']);
    expect(resource?.blocks[0]?.attributes.get('prevent_destroy')).toBe('true');
  });
  it('says so when a block is not closed', () => expect(() => blocksOf('resource "a" "b" {')).toThrow('not closed'));
  it('refuses what it does not understand', () => expect(() => blocksOf('x = <<EOF\nEOF')).toThrow('heredocs'));
});

describe.each(sourcePolicies)('$name', ({ check, plant }) => {
  it('holds', () => expect(check(sources)).toEqual([]));
  it('is violated by each planted violation', () => {
    const planted = plant(sources);
    expect(planted.length).toBeGreaterThan(0);
    expect(planted.map((broken) => check(broken).length > 0)).toEqual(planted.map(() => true));
  });
});
