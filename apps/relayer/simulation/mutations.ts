/**
 * Planted faults: each takes one guard away from the world around the lanes, never from the product's files. The simulation is
 * worth its time only if it finds every one of them; mutations.spec.ts says after how many seeds.
 */
export const MUTATIONS = {
  'fence-not-checked': 'the log takes records under any fencing token',
  'claims-not-checked': 'the log lets a second transaction claim an intent',
  'claims-kept': 'the claims of intents that were given back are never freed',
  'signatures-not-durable': 'signed bytes are acknowledged and lost with the process, so that the next one signs again',
  'answers-before-commit': 'the log answers before it has written, so that bytes go out before they are on record',
  'pending-count': "the node answers its pending count where the latest block's was asked for",
  'nonce-from-chain': "a restart forgets what is open, goes on from the chain's count, and the log lets a nonce be planned twice",
  'reorgs-ignored': 'the node swears that every block that it has ever named is still canonical',
  'unknown-is-refused': 'a commit whose answer is lost is reported as certainly not done and is not repeated',
  'leases-for-everybody': 'the lease table gives a lane to whoever asks, under one and the same token',
} as const;

export type Mutation = keyof typeof MUTATIONS;

export function isMutation(name: string): name is Mutation {
  return Object.hasOwn(MUTATIONS, name);
}
