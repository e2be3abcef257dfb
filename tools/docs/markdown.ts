export interface Line {
  readonly number: number;
  readonly text: string;
  /** The language of the fenced block that the line stands in ('' when it names none); undefined outside of blocks. */
  readonly fence: string | undefined;
}

/** The lines of a document, without the fences themselves. */
export function linesOf(text: string): Line[] {
  const lines: Line[] = [];
  let open: { readonly mark: string; readonly language: string } | undefined;
  text.split('\n').forEach((line, index) => {
    const mark = /^\s*(```+|~~~+)\s*([\w-]*)/.exec(line);
    if (open !== undefined && mark?.[1] !== undefined && mark[1].startsWith(open.mark) && mark[2] === '') open = undefined;
    else if (open === undefined && mark?.[1] !== undefined) open = { mark: mark[1], language: mark[2] ?? '' };
    else lines.push({ number: index + 1, text: line, fence: open?.language });
  });
  return lines;
}

/** Inline code of a line. */
export function codeSpans(text: string): string[] {
  return [...text.matchAll(/(`+)(.+?)\1(?!`)/g)].map((match) => (match[2] ?? '').trim());
}

/** Targets of the links and images of a line. */
export function linkTargets(text: string): string[] {
  const prose = text.replace(/(`+).+?\1/g, '');
  return [
    ...[...prose.matchAll(/\]\(\s*<?([^)\s>]+)>?(?:\s+["'][^)]*)?\)/g)].map((match) => match[1] ?? ''),
    ...[...prose.matchAll(/^\s*\[[^\]]+\]:\s*<?(\S+?)>?(?:\s|$)/g)].map((match) => match[1] ?? ''),
    ...[...prose.matchAll(/<(?:a|img)\s[^>]*(?:href|src)="([^"]+)"/g)].map((match) => match[1] ?? ''),
  ];
}

/** The anchors that a hosting site makes of a document's headings, and those written by hand. */
export function anchorsOf(text: string): Set<string> {
  const anchors = new Set<string>();
  for (const line of linesOf(text)) {
    if (line.fence !== undefined) continue;
    for (const match of line.text.matchAll(/<a\s[^>]*(?:id|name)="([^"]+)"/g)) anchors.add(match[1] ?? '');
    const heading = /^#{1,6}\s+(.*?)\s*#*$/.exec(line.text)?.[1];
    if (heading === undefined) continue;
    const slug = heading
      .replace(/\[([^\]]*)\]\([^)]*\)/g, '$1')
      .toLowerCase()
      .replace(/[^\p{L}\p{M}\p{N}\p{Pc}\- ]/gu, '')
      .replaceAll(' ', '-');
    let anchor = slug;
    for (let again = 1; anchors.has(anchor); again += 1) anchor = `${slug}-${again}`;
    anchors.add(anchor);
  }
  return anchors;
}
