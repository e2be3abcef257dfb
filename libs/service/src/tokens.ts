/** Injection tokens of what every service is given. Nest injects by these alone; no reflection on types. */
export const CONFIG = Symbol('CONFIG');
export const LOGGER = Symbol('LOGGER');
export const CLOCK = Symbol('CLOCK');
export const RANDOMNESS = Symbol('RANDOMNESS');
export const IDS = Symbol('IDS');
/** The service's own log (`EventStore`). */
export const EVENT_STORE = Symbol('EVENT_STORE');
/** `pg` pool on the service's own database, for watermarks and read models. */
export const DATABASE = Symbol('DATABASE');
/** Other services' facts (`EventFeed`). */
export const FEED = Symbol('FEED');
/** Who of several processes works on which partition (`PartitionOwners`). */
export const OWNERS = Symbol('OWNERS');
export const HEALTH = Symbol('HEALTH');
/** Connections of HTTP callers (`HttpCallers`). */
export const CALLERS = Symbol('CALLERS');
/** prom-client registry. */
export const METRICS = Symbol('METRICS');
