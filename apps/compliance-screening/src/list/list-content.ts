/** One file of a list as it was found: its bytes are what is hashed and archived. */
export interface ListFile {
  readonly name: string;
  readonly bytes: Uint8Array;
}

/** A sanctioned person, company, vessel or aircraft. All of it is public data. */
export interface ListEntry {
  /** The list's own number, OFAC's `ent_num`; for an address from a plain file the ticker's file name. */
  readonly entryId: string;
  readonly name: string;
  /** `individual`, `vessel`, `aircraft` or, for companies and groups, empty. */
  readonly kind: string;
  /** Sanctions programs, such as `CYBER2`. */
  readonly programs: readonly string[];
  readonly aliases: readonly ListAlias[];
  readonly addresses: readonly ListAddress[];
}

export interface ListAlias {
  readonly altNum: string;
  /** `aka`, `fka` or `nka`. */
  readonly kind: string;
  readonly name: string;
}

/** A digital-currency address as listed: letter case kept, since base58 depends on it. */
export interface ListAddress {
  readonly ticker: string;
  readonly address: string;
}

export interface ListCounts {
  /** Entries: rows of sdn.csv plus addresses that stand in plain files only. What the shrink guard compares. */
  readonly entries: number;
  readonly sdn: number;
  readonly add: number;
  readonly alt: number;
  readonly comments: number;
  /** Distinct digital-currency addresses named in remarks and comments; the same one under two tickers counts twice. */
  readonly remarkAddresses: number;
  /** Digital-currency addresses in `sanctioned_addresses_<TICKER>.txt`. */
  readonly fileAddresses: number;
  /** Base58Check addresses whose checksum is wrong: they can match nobody. */
  readonly unsoundAddresses: number;
}

export interface ListContent {
  readonly entries: readonly ListEntry[];
  readonly counts: ListCounts;
  /** Which of the known files are there, and which end with OFAC's end mark. */
  readonly fileNames: readonly string[];
  readonly endMarked: readonly string[];
}
