/** What the API needs beside the log: uniqueness, look-ups and read models. All of it but `idempotency`, `authorization_use`,
 * and the webhook tables can be derived from the log again. */
export const gatewayTables = `
CREATE SCHEMA gateway;

-- One row an Idempotency-Key, for ever. Written in the transaction of what it stands for, with the answer: there is no moment
-- in which one is there without the other.
CREATE TABLE gateway.idempotency (
  owner         text NOT NULL COLLATE "C",
  key           text NOT NULL COLLATE "C",
  fingerprint   text NOT NULL,
  status        integer NOT NULL,
  -- As it went over the wire; encrypted when it shows a secret.
  body          text NOT NULL,
  encrypted     boolean NOT NULL,
  replays       integer NOT NULL DEFAULT 0,
  created_at_ns bigint NOT NULL,
  PRIMARY KEY (owner, key)
) WITH (fillfactor = 90);

-- A payer's authorization stands for one payment. SHA-256 of chain, token, payer and nonce.
CREATE TABLE gateway.authorization_use (
  digest     bytea PRIMARY KEY,
  payment_id text NOT NULL COLLATE "C"
);

CREATE TABLE gateway.merchant (
  merchant_id      text PRIMARY KEY COLLATE "C",
  mode             text NOT NULL,
  display_name     text NOT NULL,
  chain_id         text NOT NULL,
  payout_address   text NOT NULL,
  merchant_key     text NOT NULL,
  sponsor_id       text NOT NULL,
  registered_at_ns bigint NOT NULL
);

CREATE TABLE gateway.api_key (
  secret_sha256 text PRIMARY KEY COLLATE "C",
  api_key_id    text NOT NULL UNIQUE COLLATE "C",
  merchant_id   text NOT NULL REFERENCES gateway.merchant,
  scopes        text[] NOT NULL,
  revoked       boolean NOT NULL DEFAULT false
);

CREATE TABLE gateway.refund (
  refund_id   text PRIMARY KEY COLLATE "C",
  payment_id  text NOT NULL COLLATE "C",
  merchant_id text NOT NULL COLLATE "C"
);

CREATE TABLE gateway.webhook_endpoint (
  endpoint_id   text PRIMARY KEY COLLATE "C",
  merchant_id   text NOT NULL COLLATE "C",
  url           text NOT NULL,
  events        text[] NOT NULL,
  description   text NOT NULL,
  enabled       boolean NOT NULL,
  -- Encrypted with the key from the configuration.
  secret        text NOT NULL,
  previous_secret text,
  previous_secret_until_ns bigint,
  created_at_ns bigint NOT NULL
);
CREATE INDEX webhook_endpoint_merchant ON gateway.webhook_endpoint (merchant_id);

CREATE TABLE gateway.webhook_delivery (
  delivery_id   text PRIMARY KEY COLLATE "C",
  endpoint_id   text NOT NULL COLLATE "C" REFERENCES gateway.webhook_endpoint ON DELETE CASCADE,
  merchant_id   text NOT NULL COLLATE "C",
  -- webhook-id on the wire: the same for every attempt and replay.
  message_id    text NOT NULL COLLATE "C",
  event_type    text NOT NULL,
  body          text NOT NULL,
  status        text NOT NULL CHECK (status IN ('pending', 'succeeded', 'exhausted')),
  -- All attempts ever, and those of the current run through the schedule, which a replay starts anew.
  attempts      integer NOT NULL DEFAULT 0,
  tries         integer NOT NULL DEFAULT 0,
  next_attempt_at_ns bigint NOT NULL,
  created_at_ns bigint NOT NULL,
  traceparent   text NOT NULL DEFAULT '',
  UNIQUE (endpoint_id, message_id)
);
CREATE INDEX webhook_delivery_due ON gateway.webhook_delivery (next_attempt_at_ns) WHERE status = 'pending';
CREATE INDEX webhook_delivery_page ON gateway.webhook_delivery (endpoint_id, created_at_ns DESC, delivery_id DESC);

CREATE TABLE gateway.webhook_attempt (
  delivery_id  text NOT NULL COLLATE "C" REFERENCES gateway.webhook_delivery ON DELETE CASCADE,
  attempt      integer NOT NULL,
  at_ns        bigint NOT NULL,
  duration_ms  integer NOT NULL,
  -- 0 when there was no answer.
  http_status  integer NOT NULL,
  error        text NOT NULL,
  PRIMARY KEY (delivery_id, attempt)
);
`;
