// What is around every page: its name, where to go, and what must not be overlooked.

import { html, render } from "./vendor/lit-html/lit-html.js";
import { endPause } from "./pausing.js";
import { icon } from "./icons.js";
import { to } from "./router.js";
import { name, visible } from "./safe.js";
import { atLeast, learning, paused, state } from "./store.js";
import { ago, left, now, some } from "./words.js";

const PLACES = [
  { path: "", word: "Requests", icon: "inbox" },
  { path: "map", word: "Map", icon: "graph", also: ["table"] },
  { path: "devices", word: "Devices", icon: "devices", also: ["device"] },
  { path: "history", word: "History", icon: "history" },
  { path: "learning", word: "Learning", icon: "learn", wide: true },
  { path: "people", word: "People", icon: "people", wide: true },
  { path: "more", word: "More", icon: "more", also: ["learning", "people"] },
];

function place(item, route) {
  const current = item.path === route.path || (item.also?.includes(route.path) && !PLACES.some(
    (other) => other.wide && other.path === route.path && matchMedia("(min-width: 60rem)").matches));
  const waiting = item.path === "" ? state.requests.size : item.path === "learning" ? learning().length : 0;
  return html`<a href=${to(item.path)} class=${item.wide ? "wide" : ""} aria-current=${current ? "page" : "false"}>
    <span class="drawing">${icon(item.icon)}${waiting
      ? html`<span aria-hidden="true" class="badge ${item.path === "" ? "ask" : "calm"}">${waiting > 99 ? "99+" : waiting}</span>` : ""}</span>
    <span>${item.word}</span>${waiting ? html`<span class="unseen">, ${waiting}</span>` : ""}</a>`;
}

function health() {
  if (state.connection === "lost") return { tone: "no", word: "Not connected" };
  if (state.connection !== "live") return { tone: "calm", word: "Connecting …" };
  const gone = state.switches.filter((one) => !one.connected).length;
  if (!state.inspector) return { tone: "no", word: "Inspector stopped" };
  if (gone) return { tone: "no", word: `${some(gone, "switch", "switches")} not connected` };
  if (paused().length) return { tone: "ask", word: "Protection paused" };
  return { tone: "ok", word: "Protected" };
}

export function banners() {
  return html`
    ${state.connection === "lost" ? html`<div class="banner no" role="alert">${icon("offline")}
      <p><strong>No connection to the controller.</strong> What you see is from ${state.lastHeard ? ago(state.lastHeard / 1000) : "before"}.
      Your home stays protected; trying again …</p></div>` : ""}
    ${state.connection === "live" && !state.inspector ? html`<div class="banner no" role="alert">${icon("alert")}
      <p><strong>The inspector does not run.</strong> What needs reading is blocked until it is back, which takes seconds.</p></div>` : ""}
    ${paused().map((device) => html`<div class="banner ask">${icon("pause")}
      <p><strong>${name(device.name)} is not protected</strong> for ${left(device.paused_until - now())} more.</p>
      ${atLeast("manager") ? html`<button class="quiet" @click=${() => endPause(device)}>Protect again</button>` : ""}</div>`)}`;
}

export function drawShell(route) {
  const shell = document.getElementById("shell");
  if (!state.session || route.path === "wall") {
    shell.className = route.path === "wall" ? "on-wall" : "alone";
    render(html`${route.path === "wall" ? banners() : ""}
      <main id="main" tabindex="-1">${route.page.view(route.rest)}</main>`, shell);
    return;
  }
  const status = health();
  shell.className = `with-nav at-${route.path || "requests"}`;
  render(html`
    <header class="top">
      <a class="brand" href=${to("")}>${icon("guarded")}<span>${visible(state.site || "Graphwall", 40)}</span></a>
      <a class="status ${status.tone}" href=${to("more")}><span class="dot"></span>${status.word}</a>
    </header>
    <nav aria-label="Pages">${PLACES.map((item) => place(item, route))}</nav>
    <div class="banners">${banners()}</div>
    <main id="main" tabindex="-1">${route.page.view(route.rest)}</main>`, shell);
}

