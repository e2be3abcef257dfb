import { InvalidInput } from '@settlement/kernel/errors';
import { describe, expect, it } from 'vitest';
import { chosenDatabases } from './chosen-databases';

const inPod = { DATABASE_URL: 'postgresql://gateway@db/gateway' };

describe('where a command looks', () => {
  it('is where it is told to, whatever it runs beside', () => {
    expect([...chosenDatabases({ url: 'postgresql://a', service: 'relayer' }, inPod)]).toEqual([['relayer', 'postgresql://a']]);
  });

  it('is the database of the service that it runs beside, when it is told nothing: a pod has no shell to spell that out', () => {
    expect([...chosenDatabases({}, inPod)]).toEqual([['this service', 'postgresql://gateway@db/gateway']]);
  });

  it('is not that one when another service is named', () => {
    expect(() => chosenDatabases({ service: 'no-such-service' }, inPod)).toThrow(InvalidInput);
  });
});
