import type { ServiceName } from './pods';

/** The first two of anvil's well-known keys: they hold nothing anywhere but on test chains. */
const ANVIL_KEYS = ['0xac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80', '0x59c6995e998f97a5a0044966f0945389dc9e86dae88c7a8412f4603b6b78690d'];

const CHAINS = JSON.stringify([
  {
    chainId: 'eip155:31337',
    mode: 'test',
    rpcUrls: ['http://chain.example:8545'],
    vaultAddress: '0x5FbDB2315678afecb367f032d93F642f64180aa3',
    finalityDepth: 2,
    blockTimeMs: 1_000,
    tokens: [{ symbol: 'USDC', address: '0xe7f1725E7734CE288F8367e1Bb143E90bb3F0512', decimals: 6, eip712Name: 'USD Coin', eip712Version: '2' }],
  },
]);

/**
 * What a Secret `settlement-<service>` would hold: each variable that files/topology.yaml asks for, with a value of its kind. A
 * variable that a service needs and that neither the chart nor this table gives fails the parse of its environment.
 */
export const SECRET_VARIABLES: Readonly<Record<ServiceName, Readonly<Record<string, string>>>> = {
  gateway: { CHAINS, ADMIN_TOKEN: 'a-token-for-checks-of-the-chart-only', SECRETS_KEY: Buffer.alloc(32, 7).toString('base64') },
  relayer: { CHAINS, RELAYER_KEYS: JSON.stringify(ANVIL_KEYS) },
  paymaster: { CHAINS },
  'batch-settlement': { CHAINS },
  'compliance-screening': { PARTIES_DIGEST_KEYS: '5e'.repeat(32) },
};

/** A password of the kind that breaks a URL unless it is escaped. */
export const DATABASE_PASSWORD = 'p@ss/w:rd?#%';

/** What `npm run cluster -- deploy` finds out about its cluster, as `--set-json` of the local environment. */
export function localFlags(): string[] {
  const services = SECRET_VARIABLES;
  const databasePasswords = Object.fromEntries(Object.keys(SECRET_VARIABLES).map((service) => [service, DATABASE_PASSWORD]));
  return ['--set-json', `secrets.plain=${JSON.stringify({ services, databasePasswords })}`, '--set-json', `screening.lists.inline=${JSON.stringify({ ofac: { 'sdn.csv': '1,"EXAMPLE",-0-' } })}`];
}
