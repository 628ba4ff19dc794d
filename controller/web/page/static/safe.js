// Text from the network as people may see it. Whoever named a device may have meant harm: what cannot be
// seen, or reorders other text, is written out, and nothing is longer than its place. As controller/words.py has it.

import { html } from "./vendor/lit-html/lit-html.js";

export const LONGEST = 60;
const HIDDEN = /[\p{C}\p{Zl}\p{Zp}\u00A0\u1680\u2000-\u200A\u202F\u205F\u3000\u034F\u115F\u1160\u17B4\u17B5\u2800\u3164\uFFA0]/gu;
const HEAPED = /(\p{M}\p{M})(\p{M}+)/gu; // accents that run over what is above

const written = (c) => `<U+${c.codePointAt(0).toString(16).toUpperCase().padStart(4, "0")}>`;

/** `text` with hidden characters written out, at most `longest` characters. */
export function visible(text, longest = LONGEST) {
  const all = Array.from(String(text ?? ""));
  const shown = all.slice(0, longest + 1).join("").replace(HIDDEN, written)
    .replace(HEAPED, (_, kept, heaped) => kept + Array.from(heaped, written).join(""));
  return Array.from(shown).length <= longest ? shown : `${Array.from(shown).slice(0, longest - 1).join("")}…`;
}

/** A name in running text: isolated, so that its direction changes nothing around it. */
export const name = (text, longest) => html`<bdi class="name">${visible(text, longest)}</bdi>`;

/** A technical value: a path, an address, an id. */
export const code = (text, longest = 120) => html`<bdi class="code">${visible(text, longest)}</bdi>`;
