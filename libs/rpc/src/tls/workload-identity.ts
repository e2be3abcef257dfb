/**
 * Who somebody is, by the URI in the subject's alternative names, as SPIFFE's X.509-SVID standard has it:
 * `spiffe://<trust domain>/<workload>`, exactly one URI in a certificate, and a path of one segment here.
 */
export type Identified = { readonly ok: true; readonly workload: string } | { readonly ok: false; readonly code: IdentityFault; readonly why: string };

export type IdentityFault = 'NO_IDENTITY' | 'SEVERAL_IDENTITIES' | 'MALFORMED_IDENTITY' | 'OTHER_TRUST_DOMAIN';

const SPIFFE_ID = /^spiffe:\/\/([a-z0-9._-]{1,255})\/([a-zA-Z0-9._-]{1,128})$/;

export function spiffeId(trustDomain: string, workload: string): string {
  return `spiffe://${trustDomain}/${workload}`;
}

/** `subjectAltName` as Node writes it, of a certificate that has already been verified. */
export function identityOf(subjectAltName: string | undefined, trustDomain: string): Identified {
  const uris = alternativeNames(subjectAltName ?? '')
    .filter((name) => name.startsWith('URI:'))
    .map((name) => name.slice('URI:'.length));
  const [uri, ...others] = uris;
  if (uri === undefined) return { ok: false, code: 'NO_IDENTITY', why: 'the certificate has no URI among its alternative names' };
  if (others.length > 0) return { ok: false, code: 'SEVERAL_IDENTITIES', why: `the certificate has ${uris.length} URIs, a SPIFFE certificate has one` };
  const [, domain, workload] = SPIFFE_ID.exec(uri) ?? [];
  if (domain === undefined || workload === undefined) return { ok: false, code: 'MALFORMED_IDENTITY', why: `the certificate's URI ${shown(uri)} is not of the form spiffe://<trust domain>/<workload>` };
  if (domain !== trustDomain) return { ok: false, code: 'OTHER_TRUST_DOMAIN', why: `the certificate ${shown(uri)} is of the trust domain ${domain}, expected ${trustDomain}` };
  return { ok: true, workload };
}

/** A foreign certificate's text goes into logs and messages: short, and nothing that a terminal would obey. */
function shown(text: string): string {
  return JSON.stringify(text.length > 200 ? `${text.slice(0, 200)}…` : text);
}

/**
 * Splits `DNS:a, URI:"spiffe://…"`. Node quotes a name as JSON when it holds a comma, a quote or a control character, so that
 * a name cannot be mistaken for two (CVE-2021-44532); a quoted one is unquoted here and never split.
 */
function alternativeNames(text: string): readonly string[] {
  const names: string[] = [];
  for (const [, kind = '', value = ''] of text.matchAll(/(?:^|, )([A-Za-z ]+:)("(?:[^"\\]|\\.)*"|[^,"]*)/g)) {
    if (!value.startsWith('"')) names.push(kind + value);
    else names.push(kind + String(JSON.parse(value)));
  }
  return names;
}
