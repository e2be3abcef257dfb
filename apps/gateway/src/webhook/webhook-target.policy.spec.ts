import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { isPublicAddress, parseWebhookUrl } from './webhook-target.policy';

describe('a public address', () => {
  it.each(['8.8.8.8', '1.1.1.1', '172.15.255.255', '172.32.0.0', '100.63.255.255', '2606:4700:4700::1111', '2a00:1450:4001:81b::200e'])('is %s', (ip) => {
    expect(isPublicAddress(ip)).toBe(true);
  });

  it.each([
    '0.0.0.0', '10.255.255.255', '100.64.0.1', '127.0.0.1', '169.254.169.254', '172.16.0.1', '172.31.255.255', '192.0.0.8', '192.168.1.1', '198.18.0.1', '203.0.113.9', '224.0.0.1', '255.255.255.255',
    '::', '::1', '::ffff:8.8.8.8', '::ffff:127.0.0.1', '64:ff9b::8.8.8.8', 'fc00::1', 'fd12:3456::1', 'fe80::1', 'fe80::1%eth0', 'ff02::1', '2001:db8::1', '2001::1', '2002:7f00:1::', '3fff::1',
    '', 'example.com', '1.2.3', '1.2.3.4.5', '01.2.3.4', '1:2:3:4:5:6:7:8:9', '::1::',
  ])('is not %s', (ip) => {
    expect(isPublicAddress(ip)).toBe(false);
  });

  it('is never IPv4 in IPv6 clothes, whatever the IPv4', () => {
    fc.assert(
      fc.property(fc.ipV4(), (ip) => {
        expect(isPublicAddress(`::ffff:${ip}`)).toBe(false);
        expect(isPublicAddress(`64:ff9b::${ip}`)).toBe(false);
        expect(isPublicAddress(`::${ip}`)).toBe(false);
      }),
    );
  });
});

describe('a webhook URL', () => {
  it('is https on a public host', () => {
    expect(parseWebhookUrl('https://example.com:8443/hooks?a=1', false).ok).toBe(true);
  });

  it.each(['http://example.com/', 'https://localhost/', 'https://printer.local/', 'https://db.svc/', 'https://intranet/', 'https://10.0.0.1/', 'https://017700000001/', 'https://u@example.com/', 'https://example.com/#x'])(
    'is not %s',
    (url) => {
      expect(parseWebhookUrl(url, false).ok).toBe(false);
    },
  );

  it('may be anything over http or https in a sandbox, but nothing else', () => {
    expect(parseWebhookUrl('http://127.0.0.1:9000/hook', true).ok).toBe(true);
    expect(parseWebhookUrl('file:///etc/passwd', true).ok).toBe(false);
  });
});
