import type { EventStore } from '@settlement/event-store/port';
import { merchantKey } from '@settlement/chain/merchant-key';
import type { EvmAddress } from '@settlement/kernel/address';
import { fold } from '@settlement/kernel/decider';
import { parseId, parseMerchantId, type ApiKeyId, type IdSource, type MerchantId, type Randomness, type SponsorId } from '@settlement/kernel/ids';
import { toRfc3339, type Clock } from '@settlement/kernel/time';
import { z } from 'zod';
import { fieldProblem, Problem } from '../http/problem';
import { json, route, type Route } from '../http/route';
import { addressSchema, chainIdSchema, textSchema } from '../http/schemas';
import type { CommandIntake } from '../idempotency/command-intake';
import type { Chain, Chains } from '../payment/chains';
import { idSchema, settled } from '../payment/payment.rest';
import { newApiKeySecret, sha256Hex } from './api-key';
import type { MerchantDirectory } from './merchant-directory';
import { merchantCodec } from './merchant.codec';
import { merchantDecider, type Merchant, type MerchantCommand, type MerchantState } from './merchant.decider';
import { merchantStream, type MerchantEvent } from './merchant.events';
import { SCOPES } from './scope';

export interface MerchantRoutesOptions {
  readonly store: EventStore;
  readonly intake: CommandIntake;
  readonly directory: MerchantDirectory;
  readonly chains: Chains;
  readonly clock: Clock;
  readonly ids: IdSource;
  readonly randomness: Randomness;
  /** Who pays the gas of merchants that name no sponsor. */
  readonly defaultSponsorId: SponsorId;
}

const scopesSchema = z.array(z.enum(SCOPES, `expected one of ${SCOPES.join(', ')}`)).min(1, 'expected at least one scope').transform((scopes) => [...new Set(scopes)]);

const createBody = z.strictObject({
  displayName: textSchema(100, 'The business name that payers see.'),
  mode: z.enum(['test', 'live'], 'expected test or live'),
  chainId: chainIdSchema,
  payoutAddress: addressSchema,
  sponsorId: z.string().regex(/^spo_[0-9a-z_-]{1,64}$/, 'expected a sponsor id such as spo_default').optional(),
});

const keySchema = z.object({
  id: z.string(),
  object: z.literal('api_key'),
  merchant: z.string(),
  scopes: z.array(z.enum(SCOPES)),
  secret: z.string().meta({ description: 'Shown this once; only its hash is kept.' }),
  createdAt: z.string().meta({ format: 'date-time' }),
}).meta({ id: 'ApiKey' });

const merchantSchema = z.object({
  id: z.string(),
  object: z.literal('merchant'),
  mode: z.enum(['test', 'live']),
  displayName: z.string(),
  chainId: z.string(),
  payoutAddress: z.string(),
  merchantKey: z.string().meta({ description: "The merchant's account in the vault." }),
  sponsorId: z.string(),
  apiKey: keySchema.optional(),
}).meta({ id: 'Merchant' });

const parseApiKeyId = parseId<ApiKeyId>('key');

export function merchantRoutes(options: MerchantRoutesOptions): readonly Route[] {
  return [createMerchant(options), getMerchant(options), issueKey(options), revokeKey(options)];
}

function createMerchant({ intake, chains, clock, ids, randomness, defaultSponsorId }: MerchantRoutesOptions): Route {
  return route({
    method: 'POST',
    path: '/v1/admin/merchants',
    access: { kind: 'admin' },
    idempotent: true,
    body: createBody,
    documentation: {
      operationId: 'createMerchant',
      tag: 'Administration',
      summary: 'Register a merchant',
      description: 'The answer holds a first API key with all scopes.',
      answers: { 201: { description: 'Registered, durably.', schema: merchantSchema } },
      problems: ['UNKNOWN_CHAIN', 'MODE_MISMATCH', 'PAYOUT_ADDRESS_REFUSED'],
    },
    handle: async ({ body, idempotency, traceparent }) => {
      const chain = chains.get(body.chainId);
      if (chain === undefined) throw fieldProblem('UNKNOWN_CHAIN', 'chainId', `expected one of ${[...chains.keys()].join(', ')}`);
      if (chain.mode !== body.mode) throw fieldProblem('MODE_MISMATCH', 'mode', `${body.chainId} is a ${chain.mode} chain`);
      checkPayoutAddress(body.payoutAddress, chain);
      const nowNs = clock.nowNs();
      const merchantId = ids.next('mer') as MerchantId;
      const merchant: Merchant = {
        merchantId,
        mode: body.mode,
        displayName: body.displayName,
        chainId: body.chainId,
        payoutAddress: body.payoutAddress,
        merchantKey: merchantKey(merchantId),
        sponsorId: (body.sponsorId ?? defaultSponsorId) as SponsorId,
      };
      const secret = newApiKeySecret(body.mode, randomness);
      const apiKeyId = ids.next('key') as ApiKeyId;
      const registered = decided({ type: 'RegisterMerchant', ...merchant, nowNs }, merchantDecider.initialState);
      const issued = decided({ type: 'IssueApiKey', apiKeyId, secretSha256: sha256Hex(secret), scopes: SCOPES, nowNs }, fold(merchantDecider, registered));
      const apiKey = { id: apiKeyId, object: 'api_key', merchant: merchantId, scopes: SCOPES, secret, createdAt: toRfc3339(nowNs) };
      const answer = json(201, { ...resourceOf(merchant), apiKey }, { location: `/v1/admin/merchants/${merchantId}` });
      const outcome = await intake.submit({
        claim: idempotency,
        answer,
        secretAnswer: true,
        append: {
          streamId: merchantStream(merchantId),
          expectedVersion: 'must-not-exist',
          commandId: `register:${idempotency.key}`,
          events: [...registered, ...issued].map((event) => merchantCodec.encode(event)),
          traceparent,
        },
        effects: async (tx) => {
          await tx.query('INSERT INTO gateway.merchant VALUES ($1, $2, $3, $4, $5, $6, $7, $8)', [
            merchantId, merchant.mode, merchant.displayName, merchant.chainId, merchant.payoutAddress, merchant.merchantKey, merchant.sponsorId, nowNs,
          ]);
          await tx.query('INSERT INTO gateway.api_key (secret_sha256, api_key_id, merchant_id, scopes) VALUES ($1, $2, $3, $4)', [sha256Hex(secret), apiKeyId, merchantId, SCOPES]);
        },
      });
      if (outcome.kind === 'conflict') throw new Problem('CONCURRENT_CHANGE', 'Repeat the request.');
      return settled(outcome, answer);
    },
  });
}

function getMerchant({ store }: MerchantRoutesOptions): Route {
  return route({
    method: 'GET',
    path: '/v1/admin/merchants/{id}',
    access: { kind: 'admin' },
    params: z.strictObject({ id: idSchema('mer', parseMerchantId) }),
    documentation: {
      operationId: 'getMerchant',
      tag: 'Administration',
      summary: 'Read a merchant',
      answers: { 200: { description: 'The merchant; no secrets.', schema: merchantSchema } },
      problems: ['MERCHANT_NOT_FOUND'],
    },
    handle: async ({ params }) => json(200, resourceOf((await loaded(store, params.id)).state.merchant)),
  });
}

function issueKey({ store, intake, clock, ids, randomness }: MerchantRoutesOptions): Route {
  return route({
    method: 'POST',
    path: '/v1/admin/merchants/{id}/keys',
    access: { kind: 'admin' },
    idempotent: true,
    params: z.strictObject({ id: idSchema('mer', parseMerchantId) }),
    body: z.strictObject({ scopes: scopesSchema }),
    documentation: {
      operationId: 'issueApiKey',
      tag: 'Administration',
      summary: 'Issue an API key',
      answers: { 201: { description: 'Issued, durably.', schema: keySchema } },
      problems: ['MERCHANT_NOT_FOUND', 'API_KEY_LIMIT_REACHED', 'CONCURRENT_CHANGE'],
    },
    handle: async ({ params, body, idempotency, traceparent }) => {
      const { state, version } = await loaded(store, params.id);
      const { merchantId, mode } = state.merchant;
      const nowNs = clock.nowNs();
      const secret = newApiKeySecret(mode, randomness);
      const apiKeyId = ids.next('key') as ApiKeyId;
      const events = decided({ type: 'IssueApiKey', apiKeyId, secretSha256: sha256Hex(secret), scopes: body.scopes, nowNs }, state);
      const answer = json(201, { id: apiKeyId, object: 'api_key', merchant: merchantId, scopes: body.scopes, secret, createdAt: toRfc3339(nowNs) });
      const outcome = await intake.submit({
        claim: idempotency,
        answer,
        secretAnswer: true,
        append: {
          streamId: merchantStream(merchantId),
          expectedVersion: version,
          commandId: `issue:${idempotency.key}`,
          events: events.map((event) => merchantCodec.encode(event)),
          traceparent,
        },
        effects: async (tx) => {
          await tx.query('INSERT INTO gateway.api_key (secret_sha256, api_key_id, merchant_id, scopes) VALUES ($1, $2, $3, $4)', [sha256Hex(secret), apiKeyId, merchantId, body.scopes]);
        },
      });
      if (outcome.kind === 'conflict') throw new Problem('CONCURRENT_CHANGE', 'The merchant changed meanwhile. Repeat the request.');
      return settled(outcome, answer);
    },
  });
}

function revokeKey({ store, directory, clock }: MerchantRoutesOptions): Route {
  return route({
    method: 'DELETE',
    path: '/v1/admin/merchants/{id}/keys/{keyId}',
    access: { kind: 'admin' },
    params: z.strictObject({ id: idSchema('mer', parseMerchantId), keyId: idSchema('key', parseApiKeyId) }),
    documentation: {
      operationId: 'revokeApiKey',
      tag: 'Administration',
      summary: 'Revoke an API key',
      description: 'Takes effect within two seconds in every process. Revoking a revoked key changes nothing.',
      answers: { 204: { description: 'Revoked, durably.' } },
      problems: ['MERCHANT_NOT_FOUND', 'API_KEY_NOT_FOUND', 'CONCURRENT_CHANGE'],
    },
    handle: async ({ params, traceparent }) => {
      if (params.keyId === undefined) throw new Problem('API_KEY_NOT_FOUND', 'The merchant has no such key.');
      const apiKeyId = params.keyId;
      const { state, version } = await loaded(store, params.id);
      const events = decided({ type: 'RevokeApiKey', apiKeyId, nowNs: clock.nowNs() }, state);
      const { merchantId } = state.merchant;
      const conflict = await store.transact(0, async (tx) => {
        const [result] = await tx.append([
          {
            streamId: merchantStream(merchantId),
            expectedVersion: version,
            commandId: `revoke:${apiKeyId}`,
            events: events.map((event) => merchantCodec.encode(event)),
            traceparent,
          },
        ]);
        if (result?.outcome === 'conflict') return true;
        await tx.query('UPDATE gateway.api_key SET revoked = true WHERE api_key_id = $1', [apiKeyId]);
        return false;
      });
      if (conflict) throw new Problem('CONCURRENT_CHANGE', 'The merchant changed meanwhile. Repeat the request.');
      directory.forget();
      return { status: 204, body: undefined };
    },
  });
}

/** The vault paying itself would be paid out in the ledger and not on the chain; at a token or at nobody the money is gone. */
function checkPayoutAddress(address: EvmAddress, chain: Chain): void {
  const refused = (why: string): Problem => fieldProblem('PAYOUT_ADDRESS_REFUSED', 'payoutAddress', why);
  if (BigInt(address) === 0n) throw refused('is the zero address');
  if (address === chain.vault) throw refused('is the vault itself');
  for (const token of chain.tokens.values()) if (address === token.address) throw refused(`is the contract of ${token.symbol}`);
}

function resourceOf(merchant: Merchant) {
  const { merchantId, mode, displayName, chainId, payoutAddress, merchantKey: key, sponsorId } = merchant;
  return { id: merchantId, object: 'merchant', mode, displayName, chainId, payoutAddress, merchantKey: key, sponsorId };
}

async function loaded(store: EventStore, merchantId: MerchantId | undefined) {
  const recorded = merchantId === undefined ? [] : await store.readStream(merchantStream(merchantId));
  const state = fold(merchantDecider, recorded.map((event) => merchantCodec.decode(event)));
  if (state.status === 'absent') throw new Problem('MERCHANT_NOT_FOUND', 'There is no such merchant.');
  return { state, version: recorded.at(-1)?.streamVersion ?? 0n };
}

function decided(command: MerchantCommand, state: MerchantState): readonly MerchantEvent[] {
  const decision = merchantDecider.decide(command, state);
  if (decision.kind === 'accepted') return decision.events;
  const { code, ...facts } = decision.rejection;
  throw new Problem(code, 'See code.', { facts });
}
