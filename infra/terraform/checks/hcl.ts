/** Just enough of HCL to see which blocks there are: what a plan does not show (lifecycle, providers, data) has to be read from the source. */
export interface Block {
  readonly type: string;
  readonly labels: readonly string[];
  /** Text between the braces. */
  readonly body: string;
  readonly blocks: readonly Block[];
  /** `name = …` directly in this block, up to the end of its first line. */
  readonly attributes: ReadonlyMap<string, string>;
}

/** Comments become blanks and strings keep their length but lose braces and hashes, so that positions stay. */
function masked(text: string): string {
  return text
    .replace(/"(?:\\.|[^"\\\n])*"|#[^\n]*|\/\/[^\n]*|\/\*[\s\S]*?\*\//g, (found) => (found.startsWith('"') ? found.replace(/[{}#]/g, '.') : found.replace(/[^\n]/g, ' ')));
}

function closing(text: string, from: number): number {
  let depth = 0;
  for (let i = from; i < text.length; i += 1) {
    if (text[i] === '{') depth += 1;
    else if (text[i] === '}') {
      depth -= 1;
      if (depth === 0) return i;
    }
  }
  throw new Error(`a block is not closed: ${text.slice(from, from + 80)}`);
}

/** The blocks of a text of HCL, outermost first. Objects (`x = {`) are attributes, not blocks. Heredocs are not understood and not used. */
export function blocksOf(text: string): Block[] {
  if (text.includes('<<')) throw new Error('heredocs are not understood here');
  const plain = masked(text);
  const found: Block[] = [];
  const opening = /^[ \t]*([A-Za-z_][\w-]*)((?:[ \t]+"[^"\n]*")*)[ \t]*\{/gm;
  for (let match = opening.exec(plain); match !== null; match = opening.exec(plain)) {
    const brace = match.index + match[0].length - 1;
    const end = closing(plain, brace);
    const body = text.slice(brace + 1, end);
    const labels = [...text.slice(match.index, brace).matchAll(/"([^"]*)"/g)].map(([, label = '']) => label);
    const blocks = blocksOf(body);
    found.push({ type: match[1] ?? '', labels, body, blocks, attributes: attributesOf(body) });
    opening.lastIndex = end + 1;
  }
  return found;
}

function attributesOf(body: string): Map<string, string> {
  const attributes = new Map<string, string>();
  let depth = 0;
  const lines = body.split('\n');
  const plain = masked(body).split('\n');
  for (const [i, line] of plain.entries()) {
    const name = /^\s*([\w-]+)\s*=(?!=)/.exec(line)?.[1];
    if (depth === 0 && name !== undefined) attributes.set(name, (lines[i] ?? '').slice(line.indexOf('=') + 1).trim());
    depth += [...line].filter((c) => '{[('.includes(c)).length - [...line].filter((c) => '}])'.includes(c)).length;
  }
  return attributes;
}

export const children = (block: Block, type: string): Block[] => block.blocks.filter((inner) => inner.type === type);
