// Who is not signed in: by the link of an invitation, or with a name and a password.

import * as api from "./api.js";
import { html } from "./vendor/lit-html/lit-html.js";
import { icon } from "./icons.js";
import { changed, state } from "./store.js";

let secret = null;
let trouble = null;
let busy = false;

/** The secret of an invitation in the address. It is taken out of there at once: nobody reads it over a shoulder. */
export function joining() {
  const found = /^#join=(.+)$/.exec(location.hash);
  if (!found) return null;
  secret = found[1];
  history.replaceState(null, "", "/");
  return secret;
}

function deviceLabel() {
  const agent = navigator.userAgent;
  const kind = [["iPhone", /iPhone/], ["iPad", /iPad/], ["Android phone", /Android.*Mobile/], ["Android tablet", /Android/],
    ["Mac", /Macintosh/], ["Windows computer", /Windows/], ["Linux computer", /Linux/]].find(([, fits]) => fits.test(agent));
  return kind?.[0] ?? "browser";
}

async function enter(body) {
  busy = true;
  trouble = null;
  changed(true);
  try {
    await api.post("/session", body);
    state.session = await api.get("/session");
    secret = null;
    dispatchEvent(new Event("graphwall-signed-in"));
  } catch (problem) {
    trouble = problem;
  } finally {
    busy = false;
    changed(true);
  }
}

function submit(event) {
  event.preventDefault();
  const given = Object.fromEntries(new FormData(event.target));
  enter(secret ? { secret, ...given, name: given.name || undefined } : given);
}

const error = () => (trouble ? html`<p class="verdict no" role="alert">${icon("alert")}<span><strong>${trouble.message}</strong> ${trouble.remedy}</span></p>` : "");

const invited = () => html`<h1>Welcome</h1>
  <p>You were invited to look after this home. Others see your name and this device beside what you decide.</p>
  <form class="stack" @submit=${submit}>
    <label class="field">Your name <input name="name" maxlength="60" placeholder="as in the invitation" ?required=${trouble?.code === "empty name"} autocomplete="name"></label>
    <label class="field">This device <input name="device_label" .defaultValue=${deviceLabel()} maxlength="60" required autocomplete="off"></label>
    ${error()}<button class="primary" ?disabled=${busy}>${busy ? "Signing in …" : "Sign in on this device"}</button></form>`;

const returning = () => html`<h1>Sign in</h1>
  <form class="stack" @submit=${submit}>
    <label class="field">Your name <input name="name" maxlength="60" required autocomplete="username"></label>
    <label class="field">Password <input name="password" type="password" maxlength="200" required autocomplete="current-password"></label>
    <input type="hidden" name="device_label" .value=${deviceLabel()}>
    ${error()}<button class="primary" ?disabled=${busy}>${busy ? "Signing in …" : "Sign in"}</button></form>
  <section class="hint">${icon("link")}<div><p><strong>No password?</strong> Open the link of an invitation on this device. Whoever manages this home makes
    one under <em>People</em>; the first comes from the machine that runs Graphwall:</p><p><code>graphwall people invite YOUR-NAME</code></p></div></section>`;

export const signin = {
  title: "Sign in",
  view() {
    if (state.session === undefined) return html`<div class="door" aria-busy="true"><p>Graphwall starts …</p></div>`;
    return html`<div class="door"><span class="drawing">${icon("guarded")}</span>
      ${state.unreachable ? html`<h1>No connection</h1><p>The controller cannot be reached. Your home stays protected.</p>
        <button class="primary" @click=${() => location.reload()}>Try again</button>` : secret ? invited() : returning()}</div>`;
  },
};
