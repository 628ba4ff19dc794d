// Where everything else is: learning, people, how the page looks, and signing out.

import * as api from "./api.js";
import * as live from "./live.js";
import { html } from "./vendor/lit-html/lit-html.js";
import { files } from "./files.js";
import { icon } from "./icons.js";
import { to } from "./router.js";
import { name } from "./safe.js";
import { askText } from "./sheet.js";
import { atLeast, changed, learning, state } from "./store.js";
import { complain, toast } from "./toast.js";
import { some } from "./words.js";

const THEMES = [["", "Like the device", "theme"], ["light", "Light", "sun"], ["dark", "Dark", "moon"]];
let installing = null;

addEventListener("beforeinstallprompt", (event) => {
  event.preventDefault();
  installing = event;
  changed(true);
});

function paint(theme) {
  if (theme) {
    localStorage.setItem("graphwall-theme", theme);
    document.documentElement.dataset.theme = theme;
  } else {
    localStorage.removeItem("graphwall-theme");
    delete document.documentElement.dataset.theme;
  }
  dispatchEvent(new Event("graphwall-theme"));
  changed(true);
}

async function signOut() {
  try {
    await api.remove("/session");
  } catch (problem) {
    if (problem.status !== 401) return complain(problem);
  }
  live.close();
  state.session = null;
  location.hash = "";
  location.reload();
}

async function setPassword() {
  const given = await askText("A password", { label: "At least 10 characters. It lets you sign in without a link.", longest: 200, type: "password" });
  if (!given) return;
  try {
    await api.put("/session/password", { password: given });
    toast({ text: "From now on you can sign in with your name and this password.", icon: "key", tone: "ok" });
  } catch (problem) {
    complain(problem);
  }
}

const entry = (path, drawing, word, text) => html`<li><a class="device" href=${to(path)}><span class="tile">${icon(drawing)}</span>
  <span class="who">${word}<small>${text}</small></span>${icon("right")}</a></li>`;

function themes() {
  const chosen = document.documentElement.dataset.theme ?? "";
  return html`<fieldset class="segments"><legend>Colours</legend>${THEMES.map(([value, word, drawing]) => html`
    <label><input type="radio" name="theme" .value=${value} .checked=${chosen === value} @change=${() => paint(value)}>
      <span>${icon(drawing)}${word}</span></label>`)}</fieldset>`;
}

function site() {
  return html`<ul class="list">${state.switches.map((one) => html`<li class="program"><span class="tile small">${icon("switch")}</span>
      <div class="who">${name(one.name)}<small>${one.connected ? some(one.flows, "rule") : "its rules stay in force"}</small></div>
      <span class="chip ${one.connected ? "ok" : "no"}">${icon(one.connected ? "check" : "alert")}${one.connected ? "Connected" : "Not connected"}</span></li>`)}
    <li class="program"><span class="tile small">${icon("eye")}</span><div class="who">Inspector<small>reads the requests that must be judged</small></div>
      <span class="chip ${state.inspector ? "ok" : "no"}">${icon(state.inspector ? "check" : "alert")}${state.inspector ? "Running" : "Stopped"}</span></li></ul>`;
}

export const morePage = {
  title: "More",
  view() {
    const { person, device_label } = state.session;
    return html`<div class="page narrow"><h1>More</h1>
      <ul class="list">
        ${entry("learning", "learn", "Learning", learning().length ? `${some(learning().length, "program learns", "programs learn")} now` : "nothing learns now")}
        ${entry("people", "people", "People", "who may answer, and on which devices")}
        ${entry("table", "table", "Table", "every relationship, to sort and to filter")}
        ${entry("wall", "wall", "Wall", "the live map alone, for a screen on the wall; nothing can be changed there")}
      </ul>
      <section class="group"><h2>Looks</h2>${themes()}</section>
      ${installing ? html`<button class="quiet" @click=${() => installing.prompt()}>${icon("download")}Install on this device</button>` : ""}
      <section class="group"><h2>Site</h2>${site()}</section>
      ${files()}
      <section class="group"><h2>You</h2>
        <p>${name(person.name)}, ${person.role}, on ${name(device_label)}</p>
        <div class="row"><button class="quiet" @click=${setPassword}>${icon("key")}Set a password</button>
          <button class="quiet" @click=${signOut}>${icon("signout")}Sign out</button></div></section>
    </div>`;
  },
};
