// Buys with npm x402-fetch as it is: one request for each of KEYS (private keys, comma-separated), all at once.
// Environment: URL, KEYS. Prints [{status, body, payment}, …] in the order of the keys.
import { createWalletClient, http } from 'viem';
import { privateKeyToAccount } from 'viem/accounts';
import { baseSepolia } from 'viem/chains';
import { decodeXPaymentResponse, wrapFetchWithPayment } from 'x402-fetch';

const { URL: url, KEYS } = process.env;
async function buy(key) {
  const wallet = createWalletClient({ account: privateKeyToAccount(key), transport: http('http://127.0.0.1:1'), chain: baseSepolia });
  const response = await wrapFetchWithPayment(fetch, wallet)(url, { method: 'GET' });
  const receipt = response.headers.get('X-PAYMENT-RESPONSE');
  return { status: response.status, body: await response.json(), payment: receipt === null ? null : decodeXPaymentResponse(receipt) };
}
console.log(JSON.stringify(await Promise.all(KEYS.split(',').map((key) => buy(key).catch((error) => ({ status: 0, body: String(error), payment: null }))))));
