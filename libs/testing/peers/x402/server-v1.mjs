// A shop of x402 version 1: GET /article for money, with the middleware of npm x402-express as it is.
// Environment: FACILITATOR_URL, PAY_TO, NETWORK, ASSET, ASSET_NAME, ASSET_VERSION, AMOUNT (minor units). Prints {"url": …} when it listens.
import express from 'express';
import { paymentMiddleware } from 'x402-express';

const { FACILITATOR_URL, PAY_TO, NETWORK, ASSET, ASSET_NAME, ASSET_VERSION, AMOUNT } = process.env;
const app = express();
const price = { amount: AMOUNT, asset: { address: ASSET, decimals: 6, eip712: { name: ASSET_NAME, version: ASSET_VERSION } } };
app.use(paymentMiddleware(PAY_TO, { 'GET /article': { price, network: NETWORK, config: { description: 'An article', maxTimeoutSeconds: 120 } } }, { url: FACILITATOR_URL }));
let served = 0;
app.get('/article', (_request, response) => {
  served += 1;
  response.json({ article: 'What was paid for', number: served });
});
const server = app.listen(0, '127.0.0.1', () => console.log(JSON.stringify({ url: `http://127.0.0.1:${server.address().port}/article` })));
