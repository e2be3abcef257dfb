import { spawnSync } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { checkProto } from './proto/check-proto';

const root = join(import.meta.dirname, '..');
const contracts = join(root, 'proto');
const copies: string[] = [];

afterAll(() => copies.forEach((copy) => rmSync(copy, { recursive: true, force: true })));

function buf(folder: string, ...args: string[]): { ok: boolean; out: string; said: string } {
  const result = spawnSync(join(root, 'node_modules/.bin/buf'), args, { cwd: folder, encoding: 'utf8', maxBuffer: 64 << 20 });
  return { ok: result.status === 0, out: result.stdout, said: `${result.stdout}${result.stderr}` };
}

function findings(folder: string): string[] {
  const built = buf(folder, 'build', '-o', '-#format=json');
  expect(built.ok, built.said).toBe(true);
  return checkProto(JSON.parse(built.out));
}

/** A copy of the contracts in which one file is changed by hand. */
function changed(file: string, from: string | RegExp, to: string): string {
  const copy = mkdtempSync(join(tmpdir(), 'settlement-proto-'));
  copies.push(copy);
  cpSync(join(contracts, 'buf.yaml'), join(copy, 'buf.yaml'));
  cpSync(join(contracts, 'settlement'), join(copy, 'settlement'), { recursive: true });
  const path = join(copy, 'settlement', file);
  const before = readFileSync(path, 'utf8');
  const after = before.replace(from, to);
  expect(after, `nothing in ${file} matches ${String(from)}`).not.toBe(before);
  writeFileSync(path, after);
  return copy;
}

describe('the contracts between services', () => {
  it('pass buf lint', () => {
    const { ok, said } = buf(contracts, 'lint');
    expect(said).toBe('');
    expect(ok).toBe(true);
  });

  it('keep the conventions on money, moments, enums and decisions', () => {
    expect(findings(contracts)).toEqual([]);
  });

  it('unchanged break nothing', () => {
    expect(buf(contracts, 'breaking', '--against', contracts)).toMatchObject({ ok: true });
  });
});

describe('a planted violation', () => {
  it('of style is refused by buf lint', () => {
    const { ok, said } = buf(changed('common/v1/common.proto', 'string amount_minor', 'string amountMinor'), 'lint');
    expect(ok).toBe(false);
    expect(said).toContain('amountMinor');
  });

  it.each([
    ['a field that is gone', 'common/v1/common.proto', /.*string amount_minor = 2;/, '', 'deleted'],
    ['a field under another number', 'common/v1/common.proto', 'string amount_minor = 2;', 'string amount_minor = 3;', 'deleted'],
    ['a field of another type', 'common/v1/common.proto', 'string amount_minor = 2;', 'int64 amount_minor = 2;', 'changed type'],
    ['a field of another name', 'gateway/v1/events.proto', 'string screening_id = 2;', 'string check_id = 2;', 'changed'],
    ['an enum value that is gone', 'screening/v1/screening.proto', /.*VERDICT_REJECT = 3;/, '', 'deleted'],
    ['a call that is gone', 'relayer/v1/relayer.proto', /.*rpc SubmitMany.*/, '', 'deleted'],
    ['an event that is gone', 'relayer/v1/events.proto', /message TransactionReorged \{[^}]*\}/, '', 'deleted'],
  ])('%s is refused by buf breaking', (_, file, from, to, why) => {
    const { ok, said } = buf(changed(file, from, to), 'breaking', '--against', contracts);
    expect(ok).toBe(false);
    expect(said).toContain(why);
  });

  it('a new field breaks nothing', () => {
    expect(buf(changed('common/v1/common.proto', 'string amount_minor = 2;', 'string amount_minor = 2;\n  string memo = 900;'), 'breaking', '--against', contracts)).toMatchObject({ ok: true });
  });
});

describe('the conventions', () => {
  let folder: string;
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), 'settlement-proto-'));
    copies.push(folder);
    cpSync(join(contracts, 'buf.yaml'), join(folder, 'buf.yaml'));
    mkdirSync(join(folder, 'settlement/common/v1'), { recursive: true });
    mkdirSync(join(folder, 'settlement/planted/v1'), { recursive: true });
    cpSync(join(contracts, 'settlement/common/v1/common.proto'), join(folder, 'settlement/common/v1/common.proto'));
  });

  function found(body: string): string[] {
    writeFileSync(
      join(folder, 'settlement/planted/v1/planted.proto'),
      `syntax = "proto3";\npackage settlement.planted.v1;\nimport "settlement/common/v1/common.proto";\n${body.includes('google.') ? 'import "google/protobuf/timestamp.proto";\n' : ''}${body}\n`,
    );
    return findings(folder).filter((finding) => !finding.startsWith('google.'));
  }

  it.each([
    ['string amount = 1;'],
    ['settlement.common.v1.Money amount = 1;'],
    ['string fee_per_gas_wei_max = 1;'],
    ['int64 paid_at_ns = 1;'],
    ['int64 valid_before = 1;'],
    ['repeated string amounts_minor = 1;'],
  ])('allow %s', (line) => {
    expect(found(`message Planted { ${line} }`)).toEqual([]);
  });

  it.each([
    ['uint64 amount = 1;', 'amount: money is a string'],
    ['int64 fee_minor = 1;', 'fee_minor: money is a string'],
    ['bytes cost_wei = 1;', 'cost_wei: money is a string'],
    ['int64 cost_wei_max = 1;', 'cost_wei_max: money is a string'],
    ['repeated int64 amount_minor = 1;', 'amount_minor: money is a string'],
    ['double share = 1;', 'share: no floating point'],
    ['float share = 1;', 'share: no floating point'],
    ['uint64 paid_at_ns = 1;', 'paid_at_ns: nanoseconds are int64'],
    ['string paid_at_ns = 1;', 'paid_at_ns: nanoseconds are int64'],
    ['int64 paid_at = 1;', 'paid_at: a moment'],
    ['int64 paid_at_ms = 1;', 'paid_at_ms: a moment'],
    ['int64 timestamp = 1;', 'timestamp: a moment'],
    ['google.protobuf.Timestamp paid = 1;', 'paid: a moment'],
    ['message Inner { int64 fee_minor = 1; } Inner inner = 1;', 'Inner.fee_minor: money is a string'],
  ])('refuse %s', (line, finding) => {
    expect(found(`message Planted { ${line} }`)).toEqual([expect.stringContaining(finding)]);
  });

  it.each([
    ['enum Verdict { VERDICT_ALLOW = 0; }'],
    ['enum Verdict { UNSPECIFIED = 0; }'],
    ['enum Verdict { VERDICT_UNKNOWN = 0; VERDICT_UNSPECIFIED = 1; }'],
    ['message Planted { enum Verdict { VERDICT_ALLOW = 0; } }'],
  ])('refuse %s', (body) => {
    expect(found(body)).toEqual([expect.stringContaining('Verdict: begins with VERDICT_UNSPECIFIED = 0')]);
  });

  const one = 'message SubmitRequest {} message SubmitResponse {}';
  it('refuse a decision without a form for many', () => {
    expect(found(`${one} service S { rpc Submit(SubmitRequest) returns (SubmitResponse); }`)).toEqual([expect.stringContaining('Submit: a decision also has a form for many')]);
  });

  it.each([
    ['message SubmitManyRequest { SubmitRequest item = 1; } message SubmitManyResponse { repeated SubmitResponse items = 1; }'],
    ['message SubmitManyRequest { repeated SubmitRequest items = 1; } message SubmitManyResponse { bool all = 1; }'],
  ])('refuse a form for many that does not answer each: %s', (many) => {
    const service = 'service S { rpc Submit(SubmitRequest) returns (SubmitResponse); rpc SubmitMany(SubmitManyRequest) returns (SubmitManyResponse); }';
    expect(found(`${one} ${many} ${service}`)).toEqual([expect.stringContaining('SubmitMany: takes many')]);
  });
});
