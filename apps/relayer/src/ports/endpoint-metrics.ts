export type EndpointState = 'closed' | 'half-open' | 'open';

/** What an endpoint said that a quorum of the others did not. */
export type DisagreementSubject = 'head' | 'block' | 'nonce' | 'balance' | 'receipt' | 'call' | 'chain';

/** What operators watch of the RPC endpoints. `endpoint` is a name without path or credentials. */
export interface EndpointMetrics {
  endpointState(chainId: string, endpoint: string, state: EndpointState): void;
  endpointDisagreement(chainId: string, endpoint: string, what: DisagreementSubject): void;
}
