/**
 * The form in which names are compared: two names are the same when they have the same words, whatever the order, letter
 * case, accents, punctuation or (for Cyrillic and Greek) script. Empty when nothing comparable is left.
 *
 * Exact equality of this form is all that this matcher knows (`MATCHER_VERSION`); it finds no typing errors.
 */
export function normalisedName(name: string): string {
  let text = '';
  // `й` before NFKD takes it apart: it is a letter of its own, transliterated `y`, not an `и` with a mark.
  const composed = name.normalize('NFC').toLowerCase().replaceAll('й', 'y');
  // NFKD, so that ligatures, full-width letters and accented letters fall apart; `ё` and `ї` lose their marks.
  for (const char of composed.normalize('NFKD').toLowerCase()) text += FOLDED[char] ?? char;
  return text
    .replace(/\p{M}+/gu, '')
    // Apostrophes join (O'Neil, Ts'elot), every other sign separates (AL-ASSAD, "A.V.I.A.").
    .replace(/['’‘ʼʻ`´]/gu, '')
    .replace(/[^\p{L}\p{N}]+/gu, ' ')
    .trim()
    .split(' ')
    .sort()
    .join(' ');
}

/** Recorded with each decision. Change it when `normalisedName`, `canonicalAddress` or the index could answer differently. */
export const MATCHER_VERSION = 'exact-1';

/** Letters that NFKD does not take apart, and transliterations (BGN/PCGN for Russian without its context rules). */
const FOLDED: Readonly<Record<string, string>> = {
  ß: 'ss', æ: 'ae', œ: 'oe', ø: 'o', ł: 'l', đ: 'd', ð: 'd', þ: 'th', ħ: 'h', ı: 'i', ŋ: 'n', ə: 'a',
  а: 'a', б: 'b', в: 'v', г: 'g', д: 'd', е: 'e', ж: 'zh', з: 'z', и: 'i', к: 'k', л: 'l', м: 'm', н: 'n', о: 'o',
  п: 'p', р: 'r', с: 's', т: 't', у: 'u', ф: 'f', х: 'kh', ц: 'ts', ч: 'ch', ш: 'sh', щ: 'shch', ъ: '', ы: 'y',
  ь: '', э: 'e', ю: 'yu', я: 'ya', є: 'ye', і: 'i', ґ: 'g', ђ: 'dj', ј: 'j', љ: 'lj', њ: 'nj', ћ: 'c', џ: 'dz',
  α: 'a', β: 'v', γ: 'g', δ: 'd', ε: 'e', ζ: 'z', η: 'i', θ: 'th', ι: 'i', κ: 'k', λ: 'l', μ: 'm', ν: 'n', ξ: 'x',
  ο: 'o', π: 'p', ρ: 'r', σ: 's', ς: 's', τ: 't', υ: 'y', φ: 'f', χ: 'ch', ψ: 'ps', ω: 'o',
};
