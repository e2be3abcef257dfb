import { describe, expect, it } from 'vitest';
import { refuseWhatChanged } from './build-images';
import type { ImageName, Inputs } from './catalogue';

const inputs = (digests: Partial<Record<ImageName, string>>): ReadonlyMap<ImageName, Inputs> =>
  new Map(Object.entries(digests).map(([name, digest]) => [name as ImageName, { digest, files: [] }]));

describe('sources that change while images are built', () => {
  it('have those images forgotten, and the build fails and says which', async () => {
    const forgotten: string[] = [];
    const refused = refuseWhatChanged(['gateway', 'relayer'], inputs({ gateway: 'a', relayer: 'b', kafka: 'c' }), inputs({ gateway: 'a', relayer: 'x', kafka: 'y' }), (name) => {
      forgotten.push(name);
      return Promise.resolve();
    });
    await expect(refused).rejects.toMatchObject({ code: 'SOURCES_CHANGED', message: expect.stringContaining('relayer') as string });
    // Kafka's was found in the cache: it holds what its digest says.
    expect(forgotten).toEqual(['relayer']);
  });

  it('that stay as they are cost nothing', async () => {
    await refuseWhatChanged(['gateway'], inputs({ gateway: 'a' }), inputs({ gateway: 'a' }), () => Promise.reject(new Error('nothing is to be forgotten')));
  });
});
