// Buys with npm @x402/fetch as it is: one request for each of KEYS (private keys, comma-separated), all at once.
// Environment: URL, KEYS. Prints [{status, body, payment}, …] in the order of the keys.
import { ExactEvmScheme } from '@x402/evm';
import { appendPaymentIdentifierToExtensions } from '@x402/extensions/payment-identifier';
import { decodePaymentResponseHeader, wrapFetchWithPayment, x402Client } from '@x402/fetch';
import { privateKeyToAccount } from 'viem/accounts';

const { URL: url, KEYS } = process.env;
async function buy(key) {
  const client = new x402Client().register('eip155:*', new ExactEvmScheme(privateKeyToAccount(key)));
  // The token of a local chain is on no list of the SDK's.
  client.setSpendControls(false);
  client.onBeforePaymentCreation(({ paymentRequired }) => {
    if (paymentRequired.extensions) appendPaymentIdentifierToExtensions(paymentRequired.extensions);
  });
  const response = await wrapFetchWithPayment(fetch, client)(url, { method: 'GET' });
  const receipt = response.headers.get('PAYMENT-RESPONSE');
  const text = await response.text();
  return { status: response.status, body: text === '' ? null : JSON.parse(text), payment: receipt === null ? null : decodePaymentResponseHeader(receipt) };
}
console.log(JSON.stringify(await Promise.all(KEYS.split(',').map((key) => buy(key).catch((error) => ({ status: 0, body: String(error), payment: null }))))));
