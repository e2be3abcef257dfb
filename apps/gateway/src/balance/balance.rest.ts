import { OperationalError } from '@settlement/kernel/errors';
import { z } from 'zod';
import { Problem } from '../http/problem';
import { json, route, type Route } from '../http/route';
import type { Ledger } from '../ports/ledger';

const minor = z.string().meta({ description: 'Minor units.' });

const balanceSchema = z.object({
  object: z.literal('balance'),
  merchant: z.string(),
  balances: z.array(
    z.object({
      chain: z.string(),
      token: z.string(),
      payable: minor.meta({ description: 'Owed and not yet in a batch.' }),
      pending: minor.meta({ description: 'In a block that is not final: a reorganisation of the chain can take it back. Not part of payable.' }),
      inBatch: minor.meta({ description: 'In a sealed batch that is not final yet.' }),
      refunding: minor.meta({ description: 'Reserved for refunds that are not final yet.' }),
      paidOut: minor,
      payoutHold: z.string().nullable().meta({ description: 'Why payouts are withheld, such as BLACKLISTED.' }),
    }),
  ),
}).meta({ id: 'Balance' });

export function balanceRoutes(ledger: Ledger): readonly Route[] {
  return [
    route({
      method: 'GET',
      path: '/v1/balance',
      access: { kind: 'merchant', scope: 'balance:read' },
      documentation: {
        operationId: 'getBalance',
        tag: 'Balance',
        summary: "Read the merchant's balance in the ledger",
        answers: { 200: { description: 'One line a chain and token.', schema: balanceSchema } },
        problems: ['PEER_UNAVAILABLE'],
      },
      handle: async ({ caller, traceparent }) => {
        const { merchantId } = caller.merchant;
        try {
          const lines = await ledger.balanceOf(merchantId, traceparent);
          const balances = lines.map(({ chainId, payoutHold, ...line }) => ({ chain: chainId, ...line, payoutHold: payoutHold === '' ? null : payoutHold }));
          return json(200, { object: 'balance', merchant: merchantId, balances });
        } catch (error) {
          if (error instanceof OperationalError) throw new Problem('PEER_UNAVAILABLE', 'The ledger does not answer now. Payments are taken all the same.');
          throw error;
        }
      },
    }),
  ];
}
