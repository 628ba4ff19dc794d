// Asks the controller. Every error is one sentence about what is wrong, and one about what to do.

const BASE = "/api/v1";
export const PATIENCE = 10_000; // ms

export class Problem extends Error {
  constructor(status, code, message, remedy) {
    super(message);
    Object.assign(this, { status, code, remedy });
  }
}

async function ask(method, path, body, type) {
  let answer;
  try {
    answer = await fetch(BASE + path, {
      method,
      headers: { "X-Graphwall": "1", ...(body === undefined ? {} : { "Content-Type": type }) },
      body: body === undefined ? undefined : type === "application/json" ? JSON.stringify(body) : body,
      credentials: "same-origin",
      cache: "no-store",
      signal: AbortSignal.timeout(PATIENCE),
    });
  } catch {
    throw new Problem(0, "no connection", "The controller cannot be reached.",
      "Nothing was changed. Check that this device is at home, then try again.");
  }
  const text = await answer.text();
  let said = null;
  try {
    said = text ? JSON.parse(text) : null;
  } catch {
    if (answer.ok) return text;
  }
  if (answer.ok) return said;
  throw new Problem(answer.status, said?.code ?? "error",
    said?.message ?? `The controller answered ${answer.status}.`, said?.remedy ?? "Try again.");
}

export const get = (path) => ask("GET", path);
export const post = (path, body = {}) => ask("POST", path, body, "application/json");
export const postYaml = (path, bytes) => ask("POST", path, bytes, "application/yaml");
export const patch = (path, body) => ask("PATCH", path, body, "application/json");
export const put = (path, body) => ask("PUT", path, body, "application/json");
export const remove = (path) => ask("DELETE", path);

/** An id as one part of a path: slashes inside service ids stay, as the API has them. */
export const part = (id) => String(id).split("/").map(encodeURIComponent).join("/");
