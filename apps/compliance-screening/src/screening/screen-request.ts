import { InvalidInput, type InputIssue } from '@settlement/kernel/errors';
import type { ScreeningId } from '@settlement/kernel/ids';
import { Role, Subject, type Party, type ScreenRequest } from '@settlement/proto/screening/v1/screening';
import { canonicalAddress, isAddressOn, isChainId } from '../matching/canonical-address';
import type { ScreenedParty } from './party';
import type { Screening } from './screener';

const ID = /^[A-Za-z0-9_.:-]{1,128}$/;
/** A payment has two parties; a batch is screened as a whole before it is relayed and has up to 200 payees. More is a mix-up. */
export const PARTIES_MAX = 256;
const NAME_LENGTH_MAX = 1_000;
/** One append's worth; a partition's backlog comes in several calls. */
const ITEMS_MAX = 2_000;

/** Every issue of every item at once. Issues quote ids, never a name or an address. */
export function parseScreenRequests(requests: readonly ScreenRequest[], path: (i: number) => string): readonly Screening[] {
  if (requests.length > ITEMS_MAX) throw new InvalidInput([{ path: 'items', message: `at most ${ITEMS_MAX} items a call` }]);
  const issues: InputIssue[] = [];
  const screenings = requests.map((request, i) => parseRequest(request, path(i), issues));
  if (issues.length > 0) throw new InvalidInput(issues.slice(0, 100));
  return screenings;
}

export function parseScreeningId(text: string): ScreeningId {
  if (!ID.test(text)) throw new InvalidInput([{ path: 'screening_id', message: 'expected 1 to 128 letters, digits, _ . : -' }]);
  return text as ScreeningId;
}

function parseRequest(request: ScreenRequest, path: string, issues: InputIssue[]): Screening {
  const at = (field: string): string => (path === '' ? field : `${path}.${field}`);
  const { screeningId, subject, subjectId, parties } = request;
  if (!ID.test(screeningId)) issues.push({ path: at('screening_id'), message: 'expected 1 to 128 letters, digits, _ . : -' });
  if (subject === Subject.SUBJECT_UNSPECIFIED || subject === Subject.UNRECOGNIZED) issues.push({ path: at('subject'), message: 'expected a subject' });
  if (!ID.test(subjectId)) issues.push({ path: at('subject_id'), message: 'expected 1 to 128 letters, digits, _ . : -' });
  if (parties.length === 0 || parties.length > PARTIES_MAX) {
    issues.push({ path: at('parties'), message: `expected 1 to ${PARTIES_MAX} parties` });
  }
  return {
    screeningId: screeningId as ScreeningId,
    subject,
    subjectId,
    parties: parties.slice(0, PARTIES_MAX).map((party, i) => parseParty(party, at(`parties[${i}]`), issues)),
  };
}

function parseParty({ role, chainId, address, name }: Party, path: string, issues: InputIssue[]): ScreenedParty {
  if (role !== Role.ROLE_PAYER && role !== Role.ROLE_PAYEE) issues.push({ path: `${path}.role`, message: 'expected payer or payee' });
  if (address === '' && name.trim() === '') issues.push({ path, message: 'expected an address, a name or both' });
  if (address !== '') {
    if (!isChainId(chainId)) issues.push({ path: `${path}.chain_id`, message: 'expected a CAIP-2 chain id such as eip155:8453' });
    // A mistyped address matches nobody; it must not pass for a clean one.
    else if (!isAddressOn(chainId, address)) issues.push({ path: `${path}.address`, message: `expected an address of ${chainId}` });
  }
  if (name.length > NAME_LENGTH_MAX) issues.push({ path: `${path}.name`, message: `expected at most ${NAME_LENGTH_MAX} characters` });
  return { role, chainId, address: address === '' ? '' : canonicalAddress(address), name };
}
