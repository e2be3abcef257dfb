/** One method as ts-proto generates it for grpc-js. */
export interface RpcMethod {
  readonly path: string;
  readonly requestStream: boolean;
  readonly responseStream: boolean;
  // Method syntax on purpose: its parameters are bivariant, so that every generated method fits this shape.
  requestSerialize(value: never): Buffer;
  requestDeserialize(value: Buffer): unknown;
  responseSerialize(value: never): Buffer;
  responseDeserialize(value: Buffer): unknown;
}

/** A service as ts-proto generates it, such as `PaymasterServiceService`. */
export type RpcService = Readonly<Record<string, RpcMethod>>;

export type RequestOf<M extends RpcMethod> = ReturnType<M['requestDeserialize']>;
export type ResponseOf<M extends RpcMethod> = ReturnType<M['responseDeserialize']>;

/** `settlement.paymaster.v1.PaymasterService` of `/settlement.paymaster.v1.PaymasterService/Reserve`. */
export function serviceNameOf(service: RpcService): string {
  const [method] = Object.values(service);
  return method?.path.split('/')[1] ?? '';
}
