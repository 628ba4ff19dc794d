// Every device with its drawing, name and state.

import { html } from "./vendor/lit-html/lit-html.js";
import { repeat } from "./vendor/lit-html/directives/repeat.js";
import { icon, tile } from "./icons.js";
import { to } from "./router.js";
import { name, visible } from "./safe.js";
import { changed, lastSeen, state } from "./store.js";
import { ago, left, now, some, CERTAINTIES } from "./words.js";

let sought = "";

/** What a device's state is, in a word, for lists and panels. */
export function standing(device) {
  if ((device.paused_until ?? 0) > now()) return { tone: "ask", icon: "pause", word: `Not protected for ${left(device.paused_until - now())}` };
  if (device.admission === "new") return { tone: "ask", icon: "question", word: "Waits to be admitted" };
  if (device.admission === "blocked") return { tone: "no", icon: "ban", word: "Kept out" };
  const open = [...state.requests.values()].filter((request) => request.kind === "access"
    && [request.client, request.server].some((id) => state.services.get(id)?.service.device === device.id)).length;
  if (open) return { tone: "ask", icon: "inbox", word: `${some(open, "request")} open` };
  if ([...state.services.values()].some((view) => view.learning && view.service.device === device.id)) {
    return { tone: "calm", icon: "learn", word: "Learning" };
  }
  return { tone: "ok", icon: "check", word: "Protected" };
}

/** How sure the name is; silent where a person gave it. */
export const certainty = (device) => {
  return device.certainty === "given" ? "" : CERTAINTIES[device.certainty] ?? "";
};

function line(device) {
  const stands = device.place === "site" ? standing(device) : null;
  const kind = [device.vendor, device.kind].filter(Boolean).map((word) => visible(word, 30)).join(" · ");
  return html`<li><a class="device" href=${to("device", device.id)}>${tile(device)}
    <span class="who">${name(device.name)}<small>${kind || (device.place === "remote" ? "on the internet" : certainty(device))} · ${ago(lastSeen(device))}</small></span>
    ${stands && stands.tone !== "ok" ? html`<span class="chip ${stands.tone}">${icon(stands.icon)}${stands.word}</span>` : ""}${icon("right")}</a></li>`;
}

function group(title, text, devices) {
  if (!devices.length) return "";
  return html`<section class="group"><h2>${title} <span class="count">${devices.length}</span></h2>
    ${text ? html`<p class="small">${text}</p>` : ""}
    <ul class="list">${repeat(devices, (device) => device.id, line)}</ul></section>`;
}

const fits = (device) => !sought || [device.name, device.kind, device.vendor, device.mac, ...(device.addresses ?? [])]
  .some((text) => (text ?? "").toLowerCase().includes(sought));

export const devices = {
  title: "Devices",
  view() {
    const all = [...state.devices.values()].filter(fits).sort((a, b) => a.name.localeCompare(b.name));
    const here = all.filter((device) => device.place === "site");
    return html`<div class="page narrow"><h1>Devices</h1>
      <label class="search">${icon("search")}<span class="unseen">Search devices</span>
        <input type="search" placeholder="Name, kind or address" .value=${sought}
          @input=${(event) => { sought = event.target.value.trim().toLowerCase(); changed(true); }}></label>
      ${group("Waiting", "Nothing that they send passes until you decide.", here.filter((device) => device.admission === "new"))}
      ${group("At home", "", here.filter((device) => device.admission === "admitted"))}
      ${group("Kept out", "", here.filter((device) => device.admission === "blocked"))}
      ${group("On the internet", "What your devices talk to outside, known by name.", all.filter((device) => device.place === "remote"))}
      ${all.length ? "" : html`<section class="empty"><span class="drawing">${icon("devices")}</span>
        <h2>${sought ? "No device fits" : "No device was seen yet"}</h2>
        <p>${sought ? "Search for a part of its name, its kind, its maker or an address." : "A device appears here with its first message through the switch."}</p></section>`}
    </div>`;
  },
};
