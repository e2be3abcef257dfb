/**
 * When a block of a chain counts as final. By depth where the chain has no finality of its own (or nobody trusts it to be
 * prompt), by the node's tag where consensus says so; the depth stays a floor then, so that a node that calls its newest block
 * "finalized" (development nodes do) does not make a payment final in the block that holds it.
 */
export type FinalityRule =
  | { readonly by: 'depth'; readonly depth: bigint }
  | { readonly by: 'tag'; readonly tag: FinalityTag; readonly depthFloor: bigint };

/** Block tags of the execution APIs: attested by two thirds twice, or by two thirds once. */
export type FinalityTag = 'finalized' | 'safe';

export function finalityRule(depth: bigint, tag: FinalityTag | undefined): FinalityRule {
  return tag === undefined ? { by: 'depth', depth } : { by: 'tag', tag, depthFloor: depth };
}

/**
 * The highest block that is final, `undefined` when none is yet. `taggedNumber` is the block that the node's tag names;
 * a rule by tag without an answer makes nothing final. A block is final only if it is canonical by hash as well: that is
 * the caller's to check, and a height alone says nothing.
 */
export function finalUpTo(rule: FinalityRule, headNumber: bigint, taggedNumber: bigint | undefined): bigint | undefined {
  const byDepth = headNumber - (rule.by === 'depth' ? rule.depth : rule.depthFloor);
  if (rule.by === 'tag' && taggedNumber === undefined) return undefined;
  const height = rule.by === 'tag' && taggedNumber !== undefined && taggedNumber < byDepth ? taggedNumber : byDepth;
  return height < 0n ? undefined : height;
}
