// The raw fields behind a sentence: addresses, switch port, operations, counts.

import { html } from "./vendor/lit-html/lit-html.js";
import { code, name } from "./safe.js";
import { state } from "./store.js";
import { count, exactly } from "./words.js";

export const row = (word, value) => (value === "" || value === null || value === undefined || value.length === 0 ? ""
  : html`<div><dt>${word}</dt><dd>${value}</dd></div>`);

/** "eth3 of switch hall". */
export function port(binding) {
  if (!binding) return "";
  const found = state.switches.find((one) => one.switch === binding.switch);
  return html`${code(found?.ports[binding.port] ?? `port ${binding.port}`)} of ${code(found?.name ?? `switch ${binding.switch}`)}`;
}

export function deviceRows(word, device) {
  if (!device) return "";
  return html`
    ${row(word, name(device.name))}
    ${row("Maker and kind", [device.vendor, device.kind].some(Boolean) ? html`${code(device.vendor)} ${code(device.kind)}` : "")}
    ${row("MAC address", device.mac ? code(device.mac) : "")}
    ${row("Addresses", device.addresses?.length ? device.addresses.map((one) => html`${code(one)} `) : "")}
    ${row("Switch port", port(device.binding))}`;
}

/** A relationship's raw fields. */
export function accessRows(view) {
  const { access, verb, endpoint, first_seen, last_seen, allowed, refused } = view.relationship;
  return html`
    ${row("Operation", html`${code(verb)} (${access.operation})`)}
    ${row("On", access.resource ? code(access.resource, 300) : "")}
    ${row("Protocol", html`${code(access.protocol)} at ${endpoint.transport} ${endpoint.port}`)}
    ${row("Between", html`${code(access.client)} → ${code(access.server)}`)}
    ${row("First seen", exactly(first_seen))}
    ${row("Last seen", exactly(last_seen))}
    ${row("Messages", `${count(allowed)} let through, ${count(refused)} blocked`)}`;
}

export function facts(request, client, server) {
  const views = request.relationships.map((id) => state.relationships.get(id)).filter(Boolean);
  return html`<dl class="facts">
    ${deviceRows("Asks", client)}
    ${deviceRows("Is asked", server)}
    ${views.length === 1 ? accessRows(views[0]) : ""}
    ${row("Reason", request.reason)}
    ${row("Request", code(request.id))}
  </dl>
  ${views.length > 1 ? views.map((view) => html`<details class="more"><summary><bdi>${code(view.relationship.verb)} ${code(view.relationship.access.resource)}</bdi></summary>
    <dl class="facts">${accessRows(view)}</dl></details>`) : ""}`;
}
