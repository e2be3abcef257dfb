import { describe, expect, it } from 'vitest';
import { Endpoints } from './endpoints';

describe('the addresses of an API', () => {
  it('takes turns as the choice says, and leaves out what did not answer', () => {
    const endpoints = new Endpoints(['a', 'b', 'c'], () => 0);
    expect(endpoints.next()).toBe('a');
    endpoints.failed('a');
    expect(endpoints.next()).toBe('b');
    endpoints.failed('b');
    expect(endpoints.next()).toBe('c');
  });

  it('asks again when none has answered', () => {
    const endpoints = new Endpoints(['a', 'b'], () => 0);
    endpoints.failed('a');
    endpoints.failed('b');
    expect(endpoints.next()).toBe('a');
  });

  it('keeps a single address whatever happens', () => {
    const endpoints = new Endpoints(['a']);
    endpoints.failed('a');
    expect(endpoints.next()).toBe('a');
  });
});
