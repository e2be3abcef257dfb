import { existsSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { BinaryReader } from '@bufbuild/protobuf/wire';
import type { Server } from '@grpc/grpc-js';
import { ReflectionService } from '@grpc/reflection';

/** Built by `buf build` next to the generated code. */
const DESCRIPTOR_SET = join('proto', 'gen', 'descriptors.binpb');

/** The file descriptors inside a serialized google.protobuf.FileDescriptorSet (its field 1, repeated). */
export function fileDescriptorsOf(descriptorSet: Uint8Array): readonly Buffer[] {
  const reader = new BinaryReader(descriptorSet);
  const files: Buffer[] = [];
  while (reader.pos < reader.len) {
    const [field, wireType] = reader.tag();
    if (field === 1) files.push(Buffer.from(reader.bytes()));
    else reader.skip(wireType, field);
  }
  return files;
}

/** Looks for the descriptor set from `directory` upwards; undefined when the set-up step has not built it. */
export function findDescriptorSet(directory: string): Uint8Array | undefined {
  const candidate = join(directory, DESCRIPTOR_SET);
  if (existsSync(candidate)) return readFileSync(candidate);
  const parent = dirname(directory);
  return parent === directory ? undefined : findDescriptorSet(parent);
}

/** Serves grpc.reflection.v1 and v1alpha for the named services. */
export function addReflection(server: Server, descriptorSet: Uint8Array, services: readonly string[]): void {
  // The library wants a package definition of proto-loader but reads nothing of it except the descriptors.
  const definition = { descriptors: { fileDescriptorProtos: [...fileDescriptorsOf(descriptorSet)], format: '', type: {} } };
  new ReflectionService(definition as unknown as ConstructorParameters<typeof ReflectionService>[0], {
    services: [...services],
  }).addToServer(server);
}
