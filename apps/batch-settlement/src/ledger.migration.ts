import { migrate, type Migration } from '@settlement/event-store/migrate';

/**
 * The service's tables, in the schema `ledger` of its own database beside the event store's. All of them follow from the
 * events and are written in the transaction of the events; the constraints assert the invariants a second time.
 */
const ledger = `
create schema if not exists ledger;

create table if not exists ledger.posting (
  journal_id text not null,
  line int not null,
  account text not null check (account = 'vault' or account ~ '^(merchant-payable|in-batch|refunding):.'),
  merchant_id text generated always as (case when account = 'vault' then '' else substr(account, strpos(account, ':') + 1) end) stored,
  chain_id text not null,
  token text not null,
  -- Signed minor units, exact: 78 digits hold every uint256 with either sign.
  amount numeric(78, 0) not null check (amount <> 0),
  block_number bigint not null default 0,
  transaction_hash text not null default '',
  posted_at_ns bigint not null,
  primary key (journal_id, line)
);

create table if not exists ledger.account_balance (
  account text not null,
  chain_id text not null,
  token text not null,
  kind text generated always as (split_part(account, ':', 1)) stored,
  merchant_id text generated always as (case when account = 'vault' then '' else substr(account, strpos(account, ':') + 1) end) stored,
  balance numeric(78, 0) not null,
  changed_at_ns bigint not null,
  primary key (account, chain_id, token),
  -- The vault is an asset, what we owe to merchants is not: neither may change its sign. An overdraft ends here.
  constraint account_not_overdrawn check (case when account = 'vault' then balance >= 0 else balance <= 0 end)
);

-- I4. Each statement brings whole journals: the sum per (journal, chain, token) of what it inserts is zero, so by induction
-- every sum over the table is. The balances follow in the same statement and cannot drift from the postings.
create or replace function ledger.post() returns trigger language plpgsql as $$
declare
  bad record;
begin
  select journal_id, chain_id, token, sum(amount) as total into bad
    from inserted group by journal_id, chain_id, token having sum(amount) <> 0 limit 1;
  if found then
    raise exception 'journal % does not sum to zero: % % %', bad.journal_id, bad.total, bad.token, bad.chain_id
      using errcode = 'check_violation', constraint = 'posting_sums_to_zero';
  end if;
  -- A check sees the row that an upsert would insert, so an account is opened at zero before it is moved.
  insert into ledger.account_balance (account, chain_id, token, balance, changed_at_ns)
    select distinct account, chain_id, token, 0::numeric, 0::bigint from inserted order by account, chain_id, token
    on conflict do nothing;
  -- Payable accounts first, then by name: the order in which every transaction here takes these locks.
  perform 1 from ledger.account_balance b
    join (select distinct account, chain_id, token from inserted) i
      on i.account = b.account and i.chain_id = b.chain_id and i.token = b.token
    order by b.account !~ '^merchant-payable:', b.account, b.chain_id, b.token for update of b;
  update ledger.account_balance b
    set balance = b.balance + i.amount, changed_at_ns = greatest(b.changed_at_ns, i.posted_at_ns)
    from (select account, chain_id, token, sum(amount) as amount, max(posted_at_ns) as posted_at_ns
            from inserted group by account, chain_id, token) i
    where b.account = i.account and b.chain_id = i.chain_id and b.token = i.token;
  return null;
end $$;
create or replace trigger posting_posted after insert on ledger.posting
  referencing new table as inserted for each statement execute function ledger.post();

create or replace function ledger.refuse_change() returns trigger language plpgsql as $$
begin
  raise exception 'postings are append-only: correct an entry with another one'
    using errcode = 'integrity_constraint_violation', constraint = 'posting_append_only';
end $$;
create or replace trigger posting_append_only before update or delete or truncate on ledger.posting
  for each statement execute function ledger.refuse_change();

create table if not exists ledger.merchant (
  merchant_id text primary key,
  merchant_key text not null,
  chain_id text not null,
  payout_address text not null,
  sponsor_id text not null,
  display_name text not null,
  registered_at_ns bigint not null
);

create table if not exists ledger.accrual (
  payment_id text primary key,
  merchant_id text not null,
  merchant_key text not null,
  chain_id text not null,
  token text not null,
  amount numeric(78, 0) not null check (amount > 0),
  refunded numeric(78, 0) not null default 0,
  -- Empty until a sealed batch has claimed the payment.
  payout_id text not null default '',
  payer_address text not null,
  transaction_hash text not null,
  block_number bigint not null,
  accrued_at_ns bigint not null,
  -- Reserved and paid refunds together never exceed what was collected, however many run at once.
  constraint refunds_within_capture check (refunded >= 0 and refunded <= amount)
);
create index if not exists accrual_open on ledger.accrual (chain_id, token, accrued_at_ns) where payout_id = '' and refunded < amount;
create index if not exists accrual_merchant on ledger.accrual (merchant_id, accrued_at_ns);

create table if not exists ledger.payout_hold (
  merchant_id text not null,
  chain_id text not null,
  token text not null,
  code text not null,
  payout_id text not null,
  held_at_ns bigint not null,
  primary key (merchant_id, chain_id, token)
);

-- One row a token: the lock of sealing, so that two processes never plan over the same balances.
create table if not exists ledger.batch_sequence (
  chain_id text not null,
  token text not null,
  sealed bigint not null default 0,
  not_before_ns bigint not null default 0,
  primary key (chain_id, token)
);

create table if not exists ledger.batch (
  batch_id text primary key,
  number bigint not null,
  chain_id text not null,
  token text not null,
  batch_key text not null unique,
  state text not null check (state in ('sealed', 'screened', 'submitted', 'settled', 'abandoned', 'disputed')),
  seal_reason text not null,
  total numeric(78, 0) not null check (total > 0),
  reason text not null default '',
  transaction_hash text not null default '',
  block_number bigint not null default 0,
  sealed_at_ns bigint not null,
  settled_at_ns bigint not null default 0
);
create index if not exists batch_live on ledger.batch (sealed_at_ns) where state in ('sealed', 'screened', 'submitted');
create unique index if not exists batch_number on ledger.batch (chain_id, token, number);

create table if not exists ledger.payout (
  payout_id text primary key,
  batch_id text not null references ledger.batch,
  merchant_id text not null,
  to_address text not null,
  chain_id text not null,
  token text not null,
  amount numeric(78, 0) not null check (amount > 0),
  payments int not null,
  state text not null check (state in ('pending', 'paid', 'failed', 'held')),
  code text not null default '',
  transaction_hash text not null default '',
  block_number bigint not null default 0,
  sealed_at_ns bigint not null,
  ended_at_ns bigint not null default 0,
  unique (batch_id, merchant_id)
);
create index if not exists payout_merchant on ledger.payout (merchant_id, sealed_at_ns);

create table if not exists ledger.close_command (
  command_id text primary key,
  batch_ids text[] not null,
  asked int not null default 1
);

create table if not exists ledger.refund (
  refund_id text primary key,
  payment_id text not null,
  merchant_id text not null,
  merchant_key text not null,
  chain_id text not null,
  token text not null,
  amount numeric(78, 0) not null,
  to_address text not null,
  sponsor_id text not null,
  state text not null check (state in ('reserved', 'submitted', 'paid', 'rejected', 'disputed')),
  code text not null default '',
  transaction_hash text not null default '',
  block_number bigint not null default 0,
  requested_at_ns bigint not null,
  ended_at_ns bigint not null default 0
);
create index if not exists refund_live on ledger.refund (requested_at_ns) where state in ('reserved', 'submitted');
create index if not exists refund_merchant on ledger.refund (merchant_id, requested_at_ns);

create table if not exists ledger.reconciliation (
  chain_id text not null,
  token text not null,
  block_number bigint not null,
  block_hash text not null,
  ledger_vault numeric(78, 0) not null,
  vault_balance numeric(78, 0) not null,
  token_balance numeric(78, 0) not null,
  reconciled_at_ns bigint not null,
  primary key (chain_id, token)
);

create table if not exists ledger.break (
  break_id text primary key,
  chain_id text not null,
  token text not null,
  subject text not null,
  ledger_amount numeric(78, 0) not null,
  chain_amount numeric(78, 0) not null,
  block_number bigint not null,
  block_hash text not null,
  opened_at_ns bigint not null,
  closed_at_ns bigint not null default 0
);
create unique index if not exists break_open on ledger.break (chain_id, token, subject) where closed_at_ns = 0;
`;

/** Credits of blocks that are not final: accounts of their own, so that nothing which reads the others can pay them out. */
const pending = `
alter table ledger.posting drop constraint posting_account_check;
alter table ledger.posting add constraint posting_account_check
  check (account = 'vault' or account ~ '^(vault-pending|merchant-payable|merchant-pending|in-batch|refunding):.');
-- Assets and what we owe: neither may change its sign.
alter table ledger.account_balance drop constraint account_not_overdrawn;
alter table ledger.account_balance add constraint account_not_overdrawn
  check (case when account = 'vault' or account like 'vault-pending:%' then balance >= 0 else balance <= 0 end);

-- Payments that are open: the row goes when the payment is collected.
create table ledger.pending_accrual (
  payment_id text primary key,
  state text not null check (state in ('pending', 'reversed')),
  merchant_id text not null,
  chain_id text not null,
  token text not null,
  amount numeric(78, 0) not null check (amount > 0),
  transaction_hash text not null,
  block_number bigint not null,
  block_hash text not null,
  -- Version of the payment's stream at the gateway: what is not newer is a repetition.
  fact_version bigint not null,
  changed_at_ns bigint not null
);
create index pending_open on ledger.pending_accrual (chain_id, token, changed_at_ns) where state = 'pending';
`;

/** Which version of the relayer's transaction said that a batch is final: what it says later takes that back. */
const finalWord = `alter table ledger.batch add column fact_version bigint not null default 0;`;

export const LEDGER_MIGRATIONS: readonly Migration[] = [
  { version: 1, name: 'ledger', sql: ledger },
  { version: 2, name: 'pending credits', sql: pending },
  { version: 3, name: 'final word on a batch', sql: finalWord },
  { version: 4, name: 'final word on a refund', sql: `alter table ledger.refund add column fact_version bigint not null default 0;` },
];

/** Brings the service's own tables up to date. */
export function migrateLedger(url: string): Promise<void> {
  return migrate(url, 'batch-settlement', LEDGER_MIGRATIONS);
}
