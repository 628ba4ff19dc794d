// A request's sentence as people read it: drawing and name, verb, drawing and name.

import { html } from "./vendor/lit-html/lit-html.js";
import { tile } from "./icons.js";
import { visible } from "./safe.js";

const WANTS = / wants to /;

const end = (device) => html`<span class="end">${tile(device, "small")}<bdi class="name">${visible(device.name)}</bdi></span>`;

/**
 * The controller's sentence, with the names of the two devices set off. Where they cannot be found in it, it
 * stays as it is: the sentence is what is answered, not the decoration.
 */
export function spoken(sentence, client, server) {
  let rest = visible(sentence, 400);
  const parts = [];
  const asker = client ? visible(client.name) : "";
  if (asker && rest.startsWith(asker)) {
    parts.push(end(client));
    rest = rest.slice(asker.length);
  }
  const wants = WANTS.exec(rest);
  if (wants && parts.length) {
    parts.push(" wants to ");
    rest = rest.slice(wants.index + wants[0].length);
  }
  const asked = server ? visible(server.name) : "";
  const at = asked ? rest.lastIndexOf(asked) : -1;
  if (at < 0) return [...parts, parts.length > 1 ? html`<strong class="verb">${rest}</strong>` : rest];
  const verb = rest.slice(0, at);
  const split = /^(.*?)( (?:of|at|with|from|to) )$/.exec(verb);
  parts.push(split ? html`<strong class="verb">${split[1]}</strong>${split[2]}` : html`<strong class="verb">${verb.trim()}</strong> `);
  return [...parts, end(server), rest.slice(at + asked.length)];
}
