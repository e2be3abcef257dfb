import type { EvmAddress, HexBytes } from '@settlement/kernel/address';
import { fromHex } from '@settlement/chain/hex';
import { addressOfPrivateKey, signTransaction } from '@settlement/chain/native-secp256k1';
import type { SignedTransaction, Signer, UnsignedTransaction } from '../ports/signer';

/** A key in this process's memory, signed with by native secp256k1. The key is in a private field, so no log prints it. */
export class Secp256k1Signer implements Signer {
  readonly address: EvmAddress;
  readonly #key: Uint8Array;

  constructor(privateKey: string) {
    this.#key = fromHex(privateKey);
    this.address = addressOfPrivateKey(this.#key);
  }

  sign(unsigned: UnsignedTransaction): Promise<SignedTransaction> {
    const { raw, hash } = signTransaction(
      {
        type: 2,
        chainId: unsigned.chainId,
        nonce: Number(unsigned.nonce),
        to: unsigned.to,
        data: unsigned.data,
        value: unsigned.valueWei,
        gasLimit: unsigned.gasLimit,
        maxFeePerGas: unsigned.feePerGasWeiMax,
        maxPriorityFeePerGas: unsigned.priorityFeePerGasWeiMax,
      },
      this.#key,
    );
    return Promise.resolve({ raw: raw as HexBytes, transactionHash: hash });
  }
}
