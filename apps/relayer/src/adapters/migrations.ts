import type { Migration } from '@settlement/event-store/migrate';

/** Working state and the read model of `GetIntents`; derived from the log, except `intent_claim`, which guards I2. */
export const RELAYER_MIGRATIONS: readonly Migration[] = [
  {
    version: 1,
    name: 'relayer-work',
    sql: `
CREATE SCHEMA IF NOT EXISTS relayer;

CREATE TABLE relayer.intent (
  intent_id        text PRIMARY KEY COLLATE "C",
  chain_id         text NOT NULL,
  -- Null while only a later fact about it has been seen: partitions are read independently of each other.
  request          bytea,
  -- What the chain lets happen once: payer and nonce, batch key, refund key.
  once_key         text COLLATE "C",
  accepted_at_ns   bigint NOT NULL DEFAULT 0,
  traceparent      text NOT NULL DEFAULT '',
  -- IntentState: 2 accepted, 5 final, 6 failed.
  state            smallint NOT NULL,
  reason           integer NOT NULL DEFAULT 0,
  reverts          integer NOT NULL DEFAULT 0,
  transaction_hash text NOT NULL DEFAULT '',
  block_number     bigint NOT NULL DEFAULT 0
);
CREATE INDEX intent_open ON relayer.intent (chain_id) WHERE state = 2;
CREATE INDEX intent_once ON relayer.intent (once_key) WHERE once_key IS NOT NULL;

CREATE TABLE relayer.transaction (
  transaction_id text PRIMARY KEY COLLATE "C",
  stream_id      text NOT NULL COLLATE "C",
  chain_id       text NOT NULL,
  key_address    text NOT NULL,
  nonce          bigint NOT NULL,
  intent_ids     text[] NOT NULL,
  open           boolean NOT NULL
);
CREATE UNIQUE INDEX transaction_nonce ON relayer.transaction (chain_id, key_address, nonce);
CREATE INDEX transaction_open ON relayer.transaction (chain_id, key_address) WHERE open;

CREATE TABLE relayer.watermark (
  partition integer PRIMARY KEY,
  position  bigint NOT NULL
) WITH (fillfactor = 50);

-- One row for each intent that a transaction has ever held; removed only when a transaction that reverted as a whole gives
-- it back. Written in the plan's own transaction: an intent cannot be planned twice, whatever a process believes.
CREATE TABLE relayer.intent_claim (
  intent_id      text PRIMARY KEY COLLATE "C",
  transaction_id text NOT NULL COLLATE "C"
);
`,
  },
  {
    version: 2,
    name: 'relayer-lanes',
    sql: `
-- Who may use a lane, until when by this database's clock. In the database that holds the lane's stream.
CREATE TABLE relayer.lane_lease (
  lane_id       text PRIMARY KEY COLLATE "C",
  -- Empty when released.
  owner         text NOT NULL,
  fencing_token bigint NOT NULL,
  expires_at    timestamptz NOT NULL
) WITH (fillfactor = 50);

-- The token of the last acquisition, in every database that holds partitions: each record of a lane is checked against it in
-- its own transaction. Apart from the lease, so that renewals never wait for appends.
CREATE TABLE relayer.lane_fence (
  lane_id       text PRIMARY KEY COLLATE "C",
  fencing_token bigint NOT NULL
);

CREATE TABLE relayer.replica (
  owner      text PRIMARY KEY,
  expires_at timestamptz NOT NULL
) WITH (fillfactor = 50);
`,
  },
  {
    version: 3,
    name: 'relayer-spend',
    sql: `
-- Gas money: what a transaction can cost at most while it is open, and what it did cost. Ceilings of the hour are sums of these.
ALTER TABLE relayer.transaction
  ADD COLUMN gas_limit       bigint NOT NULL DEFAULT 0,
  ADD COLUMN cost_wei_max    numeric(40) NOT NULL DEFAULT 0,
  ADD COLUMN cost_wei        numeric(40) NOT NULL DEFAULT 0,
  ADD COLUMN finalized_at_ns bigint NOT NULL DEFAULT 0,
  ADD COLUMN no_op_attempts  integer[] NOT NULL DEFAULT '{}';
CREATE INDEX transaction_spent ON relayer.transaction (chain_id, finalized_at_ns) WHERE NOT open;

-- Intents that somebody wants not to be executed any more. A wish, not a fact: the lane that holds the intent answers with one.
CREATE TABLE relayer.cancel_request (
  intent_id       text PRIMARY KEY COLLATE "C",
  requested_at_ns bigint NOT NULL
);
`,
  },
  {
    version: 4,
    name: 'relayer-claim-doubts',
    sql: `
-- Claims whose transaction stands in another database, between the two commits. Empty when there is one database.
CREATE TABLE relayer.claim_doubt (
  lane_id        text NOT NULL COLLATE "C",
  transaction_id text NOT NULL COLLATE "C",
  intent_id      text NOT NULL COLLATE "C",
  PRIMARY KEY (lane_id, transaction_id, intent_id)
);
`,
  },
];
