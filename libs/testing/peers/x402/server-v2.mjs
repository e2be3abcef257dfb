// A shop of x402 version 2: GET /article for money, with the middleware of npm @x402/express as it is.
// Environment: FACILITATOR_URL, PAY_TO, NETWORK, ASSET, ASSET_NAME, ASSET_VERSION, AMOUNT (minor units); METHOD permit2 asks for a
// Permit2 payment, PAYMENT_IDENTIFIER for an identifier. Prints {"url": …} when it listens.
import { HTTPFacilitatorClient } from '@x402/core/server';
import { ExactEvmScheme } from '@x402/evm/exact/server';
import { paymentMiddleware, x402ResourceServer } from '@x402/express';
import { declarePaymentIdentifierExtension, paymentIdentifierResourceServerExtension } from '@x402/extensions/payment-identifier';
import express from 'express';

const { FACILITATOR_URL, PAY_TO, NETWORK, ASSET, ASSET_NAME, ASSET_VERSION, AMOUNT, METHOD, PAYMENT_IDENTIFIER } = process.env;
const resourceServer = new x402ResourceServer(new HTTPFacilitatorClient({ url: FACILITATOR_URL })).register(NETWORK, new ExactEvmScheme());
if (PAYMENT_IDENTIFIER) resourceServer.registerExtension(paymentIdentifierResourceServerExtension);
const extra = { name: ASSET_NAME, version: ASSET_VERSION, ...(METHOD ? { assetTransferMethod: METHOD } : {}) };
const routes = {
  'GET /article': {
    accepts: { scheme: 'exact', price: { asset: ASSET, amount: AMOUNT, extra }, network: NETWORK, payTo: PAY_TO, maxTimeoutSeconds: 120 },
    description: 'An article',
    ...(PAYMENT_IDENTIFIER ? { extensions: { 'payment-identifier': declarePaymentIdentifierExtension(true) } } : {}),
  },
};
const app = express();
app.use(paymentMiddleware(routes, resourceServer));
let served = 0;
app.get('/article', (_request, response) => {
  served += 1;
  response.json({ article: 'What was paid for', number: served });
});
const server = app.listen(0, '127.0.0.1', () => console.log(JSON.stringify({ url: `http://127.0.0.1:${server.address().port}/article` })));
