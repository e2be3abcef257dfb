declare const brand: unique symbol;

/** A nominal type: structurally `T`, but not assignable from a bare `T`. Branding happens in parsers only. */
export type Brand<T, Name extends string> = T & { readonly [brand]: Name };
