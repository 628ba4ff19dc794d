// One device: its name, its state, its programs, and all that it may and may not do.

import * as api from "./api.js";
import { html } from "./vendor/lit-html/lit-html.js";
import { certainty, standing } from "./devices.js";
import { deviceRows, row } from "./facts.js";
import { icon, tile } from "./icons.js";
import { lesson } from "./learning.js";
import { askPause, endPause } from "./pausing.js";
import { to } from "./router.js";
import { code, name, visible } from "./safe.js";
import { askText, askWhether } from "./sheet.js";
import { atLeast, changed, lastSeen, relationshipsOf, servicesOf, state } from "./store.js";
import { complain, toast } from "./toast.js";
import { ago, exactly, may, now, some, STATUSES } from "./words.js";
import { openWhy } from "./why.js";

const MOST = 30;
let most = MOST;

async function rename(path, one) {
  const given = await askText("What is it called?", { label: "Name", value: one.name });
  if (!given || given === one.name) return;
  const before = one.name;
  const call = (text) => api.post(`/${path}/${api.part(one.id)}/rename`, { name: text });
  try {
    await call(given);
    one.name = given;
    one.certainty = "given";
    changed(true);
    toast({ text: html`It is called ${name(given)} from now on.`, icon: "pencil", tone: "ok",
      undo: () => call(before).then(() => { one.name = before; changed(true); }, complain) });
  } catch (problem) {
    complain(problem);
  }
}

async function block(device, blocked) {
  if (blocked && !await askWhether("Keep it out?", html`Nothing from ${name(device.name)} will pass, and nothing will reach it, until you let it in again.`, { yes: "Keep out", tone: "danger" })) return;
  try {
    await api.post(`/devices/${api.part(device.id)}/block`, { blocked });
    device.admission = blocked ? "blocked" : "admitted";
    changed(true);
    toast({ text: html`${name(device.name)} ${blocked ? "is kept out" : "is let in"}.`, icon: blocked ? "ban" : "check",
      tone: blocked ? "no" : "ok", undo: () => block(device, !blocked) });
  } catch (problem) {
    complain(problem);
  }
}

/** One thing that it may do, may not do, or asks to do; a line that can always be asked why. */
export function line(view) {
  const { status, last_seen, allowed, refused } = view.relationship;
  const known = STATUSES[status];
  const passes = known.tone === "ok";
  return html`<li class="entry ${known.tone}"><span class="mark">${icon(known.icon)}</span>
    <div><p><bdi>${visible(status === "pending" || status === "expired" ? view.sentence : may(view.sentence, passes), 300)}</bdi></p>
      <p class="small">${known.word} · ${passes ? some(allowed, "time") : `${some(refused, "time")} blocked`} · ${ago(last_seen)}</p></div>
    <div class="tools"><button class="bare" aria-label="Why? ${visible(view.sentence, 200)}" title="Why?" @click=${() => openWhy(view.id)}>${icon("question")}</button></div></li>`;
}

function does(device) {
  const views = relationshipsOf(device.id)
    .sort((a, b) => order(a) - order(b) || b.relationship.last_seen - a.relationship.last_seen);
  if (!views.length) return html`<p class="small">Nothing was seen of it yet.</p>`;
  return html`<ol class="entries">${views.slice(0, most).map(line)}</ol>
    ${views.length > most ? html`<button class="quiet" @click=${() => { most += 100; changed(true); }}>Show ${views.length - most} more</button>` : ""}`;
}

const order = (view) => ["ask", "no", "ok"].indexOf(STATUSES[view.relationship.status].tone);

function programs(device) {
  const views = servicesOf(device.id);
  if (!views.length) return "";
  return html`<section class="group"><h2>Programs <span class="count">${views.length}</span></h2>
    <p class="small">What runs on it, told apart by what it says of itself. Each learns on its own.</p>
    <ul class="list">${views.map((view) => html`<li class="program">
      <span class="tile small">${icon("service")}</span>
      <div class="who">${name(view.service.name)}<small>${code(view.service.own_name, 60)}</small></div>
      ${atLeast("resident") ? html`<button class="bare" aria-label="Rename ${visible(view.service.name)}" title="Rename" @click=${() => rename("services", view.service)}>${icon("pencil")}</button>` : ""}
      ${lesson(view)}</li>`)}</ul></section>`;
}

export const devicePage = {
  title: "Device",
  enter() {
    most = MOST;
  },
  view(id) {
    const device = state.devices.get(id);
    if (!device) {
      return html`<div class="page narrow"><a class="back" href=${to("devices")}>${icon("left")}Devices</a>
        <section class="empty"><span class="drawing">${icon("unknown")}</span><h1>${state.loaded ? "There is no such device" : "Loading …"}</h1></section></div>`;
    }
    const stands = standing(device);
    const here = device.place === "site";
    const isPaused = (device.paused_until ?? 0) > now();
    return html`<div class="page narrow">
      <a class="back" href=${to("devices")}>${icon("left")}Devices</a>
      <header class="head">${tile(device, "large")}<div><h1>${name(device.name)}
        ${here && atLeast("resident") ? html`<button class="bare" aria-label="Rename ${visible(device.name)}" title="Rename" @click=${() => rename("devices", device)}>${icon("pencil")}</button>` : ""}</h1>
        <p>${certainty(device) ? html`<span class="small">${certainty(device)}</span>` : ""}
          ${here ? html`<span class="chip ${stands.tone}">${icon(stands.icon)}${stands.word}</span>` : ""}</p></div></header>
      ${here && atLeast("manager") ? html`<div class="row">
        ${isPaused ? html`<button class="primary" @click=${() => endPause(device)}>${icon("guarded")}Protect again</button>`
          : html`<button class="quiet" @click=${() => askPause(device)}>${icon("pause")}Pause protection</button>`}
        ${device.admission === "blocked" ? html`<button class="quiet" @click=${() => block(device, false)}>${icon("check")}Let it in</button>`
          : device.admission === "admitted" ? html`<button class="quiet" @click=${() => block(device, true)}>${icon("ban")}Keep it out</button>` : ""}
      </div>` : ""}
      ${here ? programs(device) : ""}
      <section class="group"><h2>What it may and may not do</h2>${does(device)}</section>
      <details class="more"><summary>Details</summary><dl class="facts">
        ${deviceRows("Name", device)}${row("First seen", exactly(device.first_seen))}${row("Last seen", exactly(lastSeen(device)))}
        ${row("May be", device.roles?.length ? device.roles.join(", ") : "")}${row("Id", code(device.id))}</dl></details>
    </div>`;
  },
};
