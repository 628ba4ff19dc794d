// Which page is shown: the part of the address after "#/".

const pages = new Map();

/** `page`: {title, view(rest), enter?(rest), leave?()}; `rest`: what follows its name in the address. */
export const register = (path, page) => pages.set(path, page);

export function here() {
  const [path, ...rest] = location.hash.replace(/^#\/?/, "").split("?")[0].split("/").map(decode);
  const known = pages.has(path) ? path : "";
  return { path: known, page: pages.get(known), rest: known === path ? rest.join("/") : "" };
}

function decode(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

export const to = (path, rest) => `#/${path}${rest === undefined ? "" : `/${encodeURIComponent(rest)}`}`;

export const go = (path, rest) => {
  location.hash = to(path, rest);
};
