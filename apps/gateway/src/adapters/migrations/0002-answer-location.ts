/** A stored answer is repeated with the header that says where the resource is. Empty where the answer had none. */
export const answerLocation = `ALTER TABLE gateway.idempotency ADD COLUMN location text NOT NULL DEFAULT ''`;
