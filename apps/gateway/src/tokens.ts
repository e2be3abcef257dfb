/** Injection tokens of this service's own parts. */
export const API_SERVER = Symbol('API_SERVER');
export const COMMAND_INTAKE = Symbol('COMMAND_INTAKE');
export const MERCHANT_DIRECTORY = Symbol('MERCHANT_DIRECTORY');
export const PAYMENT_READER = Symbol('PAYMENT_READER');
export const CHAINS = Symbol('CHAINS');
export const PEERS = Symbol('PEERS');
export const REACTIONS = Symbol('REACTIONS');
export const SECRET_BOX = Symbol('SECRET_BOX');
export const OWN_LOG = Symbol('OWN_LOG');
export const SCHEMA = Symbol('SCHEMA');
export const X402 = Symbol('X402');
export const WEBHOOKS = Symbol('WEBHOOKS');
export const PAYMENT_LOG = Symbol('PAYMENT_LOG');
