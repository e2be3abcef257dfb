import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { BinaryReader } from '@bufbuild/protobuf/wire';
import { repositoryRoot } from '@settlement/config/repository-root';
import { PaymasterServiceService } from '@settlement/proto/paymaster/v1/paymaster';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { callersOf, contracts, mayCall, ownerOf, WORKLOADS } from './callers';
import { fileDescriptorsOf, findDescriptorSet } from './reflection';

const paths = contracts.flatMap(({ service }) => Object.values(service).map(({ path }) => path));

/** `/package.Service/Method` of everything in proto/, as buf has compiled it: not by way of the generated code. */
function declaredMethods(): readonly string[] {
  const set = findDescriptorSet(repositoryRoot);
  if (set === undefined) throw new Error('no descriptor set: npm run setup builds it');
  // FileDescriptorProto: package = 2, service = 6. ServiceDescriptorProto: name = 1, method = 2. MethodDescriptorProto: name = 1.
  return fileDescriptorsOf(set).flatMap((file) => {
    const [name = ''] = fieldsOf(file, 2);
    return fieldsOf(file, 6).flatMap((service) => {
      const [serviceName = ''] = fieldsOf(service, 1);
      return fieldsOf(service, 2).map((method) => `/${name.toString()}.${serviceName.toString()}/${(fieldsOf(method, 1)[0] ?? '').toString()}`);
    });
  });
}

function fieldsOf(message: Buffer, wanted: number): readonly Buffer[] {
  const reader = new BinaryReader(message);
  const found: Buffer[] = [];
  while (reader.pos < reader.len) {
    const [field, wireType] = reader.tag();
    if (field === wanted) found.push(Buffer.from(reader.bytes()));
    else reader.skip(wireType, field);
  }
  return found;
}

describe('the table of callers', () => {
  it('has every method of every service in proto/, each once', () => {
    expect([...paths].sort()).toEqual([...declaredMethods()].sort());
    expect(new Set(paths).size).toBe(paths.length);
  });

  it('does not compile without a line for each method', () => {
    type Line = Readonly<Record<Exclude<keyof typeof PaymasterServiceService, number | symbol>, readonly string[]>>;
    // @ts-expect-error getSponsorship is missing
    const incomplete: Line = { reserve: [], reserveMany: [], release: [], releaseMany: [], commit: [], commitMany: [], setBudget: [], getBudget: [], setPolicy: [], getPolicy: [] };
    expect(incomplete).not.toHaveProperty('getSponsorship');
  });

  it('lets nobody call what is in no contract', () => {
    fc.assert(
      fc.property(fc.constantFrom(...WORKLOADS), fc.string(), fc.string(), (workload, service, method) => {
        const path = `/${service}/${method}`;
        fc.pre(!paths.includes(path) && !service.startsWith('grpc.'));
        expect(mayCall(workload, path)).toBe(false);
      }),
    );
  });

  it('lets no stranger call any method of a contract, however the name is written', () => {
    fc.assert(
      fc.property(fc.string(), fc.constantFrom(...paths), (workload, path) => {
        fc.pre(!(WORKLOADS as readonly string[]).includes(workload));
        expect(mayCall(workload, path)).toBe(false);
      }),
    );
    for (const service of ['constructor', '__proto__', 'toString']) expect(mayCall('operator', `/${service}/x`)).toBe(false);
    for (const odd of ['Gateway', 'gateway ', 'settlement/gateway', 'operator\u0000', '__proto__', 'constructor', '']) for (const path of paths) expect(mayCall(odd, path)).toBe(false);
  });

  it('keeps a person’s certificate away from what moves money or decides', () => {
    for (const method of ['Submit', 'SubmitMany', 'Reserve', 'ReserveMany', 'Commit', 'CommitMany', 'Release', 'ReleaseMany', 'Screen', 'ScreenMany']) {
      for (const path of paths.filter((it) => it.endsWith(`/${method}`))) expect(mayCall('operator', path), path).toBe(false);
    }
  });

  it('keeps everybody but people and the pods’ own commands away from what people decide', () => {
    const decided = { SetBudget: 'paymaster', SetPolicy: 'paymaster', ReinstateLane: 'relayer', QuarantineLane: 'relayer', CancelIntents: undefined, ClearPayoutHold: undefined, CloseBatch: undefined } as const;
    for (const [method, own] of Object.entries(decided)) {
      for (const path of paths.filter((it) => it.endsWith(`/${method}`))) expect(callersOf(path), path).toEqual(own === undefined ? ['operator'] : ['operator', own]);
    }
  });

  it('says whose certificate a server of a service shows', () => {
    expect(ownerOf(PaymasterServiceService)).toBe('paymaster');
    expect(ownerOf({})).toBeUndefined();
  });

  it('stands in docs/mutual-tls.md as it is here', () => {
    const document = readFileSync(join(repositoryRoot, 'docs', 'mutual-tls.md'), 'utf8');
    const written = [...document.matchAll(/^\| `([A-Za-z]+)\.([A-Za-z]+)` \| (.*?) \|$/gm)].map(([, service, method, who]) => `${service}.${method}: ${who}`);
    const expected = contracts.flatMap(({ service, callers }) =>
      Object.entries(service).map(([name, { path }]) => `${path.replace(/^.*\.([A-Za-z]+)\/([A-Za-z]+)$/, '$1.$2')}: ${(callers[name] ?? []).join(', ') || 'nobody'}`),
    );
    expect(written).toEqual(expected);
  });
});
