import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { pluginDir, providerVersion } from './config';
import { blocksOf } from './hcl';
import { sourcePolicies, sourcesOfRepository } from './sources';
import { terraformMissing } from './terraform';

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

describe('a machine without Terraform or a mirror of its provider', () => {
  it('is told that there is no program', async () => expect(await terraformMissing({ PATH: join(tmpdir(), 'settlement-no-such-folder') })).toBe('no terraform in PATH'));
  it('is told of no mirror by a folder that lacks the pinned version', () => {
    const folder = mkdtempSync(join(tmpdir(), 'settlement-mirror-'));
    try {
      expect(pluginDir(folder)).toBeUndefined();
      mkdirSync(join(folder, 'registry.example/hashicorp/aws/5.0.0'), { recursive: true });
      expect(pluginDir(folder)).toBeUndefined();
      mkdirSync(join(folder, 'registry.example/hashicorp/aws', providerVersion), { recursive: true });
      expect(pluginDir(folder)).toBe(folder);
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  });
});

describe.each(sourcePolicies)('$name', ({ check, plant }) => {
  it('holds', () => expect(check(sources)).toEqual([]));
  it('is violated by each planted violation', () => {
    const planted = plant(sources);
    expect(planted.length).toBeGreaterThan(0);
    expect(planted.map((broken) => check(broken).length > 0)).toEqual(planted.map(() => true));
  });
});
