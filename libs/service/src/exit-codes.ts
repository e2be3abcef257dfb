/** Of sysexits.h, so that a supervisor can tell a bad configuration (do not restart) from a crash, and both from an outage. */
export const EXIT = {
  ok: 0,
  /** A drain that took too long, or a second signal. */
  cutOff: 1,
  software: 70,
  temporary: 75,
  config: 78,
} as const;
