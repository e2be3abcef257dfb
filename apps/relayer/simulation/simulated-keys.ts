import type { EvmAddress, HexBytes } from '@settlement/kernel/address';
import type { SignedTransaction, Signer, UnsignedTransaction } from '../src/ports/signer';
import type { Incarnation } from './incarnation';
import type { Prng } from './prng';
import type { SignedBytes } from './simulated-chain';
import { authorizationsIn } from './simulated-vault';

const SIGN_MS = 1;

/** Everything that was ever signed, by raw bytes: what only an omniscient observer has. */
export class SignedLedger {
  readonly #all = new Map<string, SignedBytes>();

  constructor(private readonly signed: (bytes: SignedBytes) => void) {}

  add(bytes: SignedBytes): void {
    this.#all.set(bytes.raw, bytes);
    this.signed(bytes);
  }

  read(raw: string): SignedBytes {
    const bytes = this.#all.get(raw);
    if (bytes === undefined) throw new RangeError('bytes that nobody has signed');
    return bytes;
  }
}

/** A key as an HSM holds it: signing one digest twice gives two signatures, and so two hashes. */
export class SimulatedSigner implements Signer {
  constructor(
    readonly address: EvmAddress,
    private readonly parts: { readonly incarnation: Incarnation; readonly prng: Prng; readonly ledger: SignedLedger },
  ) {}

  sign(unsigned: UnsignedTransaction): Promise<SignedTransaction> {
    const { incarnation, prng, ledger } = this.parts;
    return incarnation.call({
      label: `sign nonce ${unsigned.nonce}`,
      latencyMs: SIGN_MS,
      perform: () => {
        const bytes: SignedBytes = {
          raw: prng.hex(24),
          hash: prng.hex(32),
          sender: this.address,
          nonce: unsigned.nonce,
          authorizations: authorizationsIn(unsigned.data),
          gasLimit: unsigned.gasLimit,
          feePerGasWeiMax: unsigned.feePerGasWeiMax,
          priorityFeePerGasWeiMax: unsigned.priorityFeePerGasWeiMax,
          foreign: false,
        };
        ledger.add(bytes);
        return { raw: bytes.raw as HexBytes, transactionHash: bytes.hash };
      },
    });
  }
}
