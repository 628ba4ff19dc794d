// Who may look and answer: people, their devices, open invitations, and programs.

import * as api from "./api.js";
import { html } from "./vendor/lit-html/lit-html.js";
import { icon } from "./icons.js";
import { code, name, visible } from "./safe.js";
import { askWhether, closeSheet, openSheet, redrawSheet } from "./sheet.js";
import { atLeast, changed, state } from "./store.js";
import { complain, toast } from "./toast.js";
import { ago, exactly } from "./words.js";

const ROLES = {
  manager: "answers everything, and invites others",
  resident: "answers what is harmless",
  viewer: "looks, and answers nothing",
};
const NOBODY = { people: [], sessions: [], invitations: [], tokens: [] };
let known = null;

/** Everybody may know who answers; where they are signed in, who is invited and which programs ask, only managers. */
async function refresh() {
  const lists = ["/people", "/sessions", ...(atLeast("manager") ? ["/invitations", "/tokens"] : [])];
  try {
    known = Object.assign({ ...NOBODY }, ...await Promise.all(lists.map((list) => api.get(list))));
  } catch (problem) {
    complain(problem);
    known ??= NOBODY;
  }
  changed(true);
}

/** Do it, tell what went wrong, and look again. */
async function carry(call) {
  try {
    return await call();
  } catch (problem) {
    complain(problem);
    return null;
  } finally {
    refresh();
  }
}

function show(invitation, who) {
  const copy = async () => {
    await navigator.clipboard.writeText(invitation.url);
    toast({ text: "The link is copied.", icon: "link", tone: "ok" });
  };
  openSheet(html`Link for ${name(who)}`, () => html`
    <p>Scan this with the phone that is to be signed in, or open the link there. It works once, until ${exactly(invitation.expires)}.</p>
    <img class="qr" alt="The link of the invitation as a QR code" src="data:image/svg+xml;utf8,${encodeURIComponent(invitation.qr_svg)}">
    <p class="link">${code(invitation.url, 300)}</p>
    <div class="row end"><button class="quiet" @click=${copy}>${icon("link")}Copy the link</button>
      <button class="primary" @click=${closeSheet}>Done</button></div>`);
}

/** A link for one more device of whoever is signed in here. */
async function another() {
  const { person: { id, name: own } } = state.session;
  const made = await carry(() => api.post("/people/invitations", { person: id }));
  if (made) show(made, own);
}

const roleField = () => html`<fieldset class="options"><legend>Role</legend>${Object.entries(ROLES).map(([role, text]) => html`
  <label><input type="radio" name="role" .value=${role} ?checked=${role === "resident"}><span><strong>${role}</strong> ${text}</span></label>`)}</fieldset>`;

function invite() {
  const submit = async (event) => {
    event.preventDefault();
    const given = Object.fromEntries(new FormData(event.target));
    const made = await carry(() => api.post("/people/invitations", given));
    if (made) show(made, given.name);
  };
  openSheet("Invite somebody", () => html`<form class="stack" @submit=${submit}>
    <label class="field">Name <input name="name" maxlength="60" required autocomplete="off" autofocus></label>
    ${roleField()}
    <div class="row end"><button type="button" class="quiet" @click=${closeSheet}>Cancel</button><button class="primary">Make a link</button></div></form>`);
}

function newToken() {
  let made = null;
  const submit = async (event) => {
    event.preventDefault();
    const given = Object.fromEntries(new FormData(event.target));
    made = await carry(() => api.post("/tokens", given));
    redrawSheet();
  };
  openSheet("Token for a program", () => (made
    ? html`<p>Give it to the program now. It is shown this once.</p><p class="link">${code(made.token, 300)}</p>
        <div class="row end"><button class="primary" @click=${closeSheet}>Done</button></div>`
    : html`<form class="stack" @submit=${submit}><label class="field">Program <input name="name" maxlength="60" required autocomplete="off" autofocus></label>
        ${roleField()}<div class="row end"><button type="button" class="quiet" @click=${closeSheet}>Cancel</button><button class="primary">Make a token</button></div></form>`));
}

async function dismiss(path, title, text, yes) {
  if (await askWhether(title, text, { yes, tone: "danger" })) carry(() => api.remove(path));
}

const deviceOfPerson = (session) => html`<li class="sub">${icon("phone")}<span class="who"><span>${name(session.device_label)}${session.here ? " (this one)" : ""}</span>
    <small>since ${exactly(session.created)}${session.last_seen ? html`, here ${ago(session.last_seen)}` : ""}</small></span>
  <button class="bare" aria-label="Sign out ${visible(session.device_label)}" title="Sign out"
    @click=${() => dismiss(`/sessions/${api.part(session.id)}`, "Sign this device out?", html`${name(session.device_label)} will need a new link or a password.`, "Sign out")}>${icon("signout")}</button></li>`;

function person(one) {
  const mine = one.id === state.session.person.id;
  const sessions = known.sessions.filter((session) => (session.person?.id ?? session.person) === one.id);
  return html`<li class="person"><div class="program"><span class="tile">${icon("people")}</span>
    <div class="who"><span>${name(one.name)}${mine ? " (you)" : ""}</span><small>${ROLES[one.role]}</small></div>
    <label><span class="unseen">Role of ${visible(one.name)}</span><select ?disabled=${mine || !atLeast("manager")}
      @change=${(event) => carry(() => api.patch(`/people/${api.part(one.id)}`, { role: event.target.value }))}>
      ${Object.keys(ROLES).map((role) => html`<option value=${role} ?selected=${one.role === role}>${role}</option>`)}</select></label>
    ${mine || !atLeast("manager") ? "" : html`<button class="bare" aria-label="Remove ${visible(one.name)}" title="Remove" @click=${() => dismiss(`/people/${api.part(one.id)}`,
      "Remove this person?", html`${name(one.name)} is signed out everywhere. What was decided stays.`, "Remove")}>${icon("trash")}</button>`}</div>
    ${sessions.length || mine ? html`<ul>${sessions.map(deviceOfPerson)}
      ${mine ? html`<li><button class="quiet" @click=${another}>${icon("plus")}Sign in another device</button></li>` : ""}</ul>` : ""}</li>`;
}

const simple = (drawing, word, small, label, remove) => html`<li class="program"><span class="tile small">${icon(drawing)}</span>
  <div class="who">${word}<small>${small}</small></div><button class="bare" aria-label=${label} title=${label} @click=${remove}>${icon("trash")}</button></li>`;

export const peoplePage = {
  title: "People",
  enter: refresh,
  view() {
    if (!known) return html`<div class="page narrow"><h1>People</h1><p aria-busy="true">Loading …</p></div>`;
    return html`<div class="page narrow"><h1>People</h1>
      ${atLeast("manager") ? html`<div class="row"><button class="primary" @click=${invite}>${icon("plus")}Invite somebody</button></div>` : ""}
      <ul class="list">${known.people.map(person)}</ul>
      ${known.invitations.length ? html`<section class="group"><h2>Open invitations</h2><ul class="list">${known.invitations.map((one) => simple(
        "link", name(one.name), html`${one.role}, until ${exactly(one.expires)}`, `Withdraw the invitation of ${visible(one.name)}`,
        () => carry(() => api.remove(`/invitations/${api.part(one.id)}`))))}</ul></section>` : ""}
      ${atLeast("manager") ? html`<section class="group"><h2>Programs</h2><p class="small">Home automation and scripts use the API with a token of their own.</p>
        <ul class="list">${known.tokens.map((one) => simple("key", name(one.name), one.role, `Withdraw the token of ${visible(one.name)}`,
          () => dismiss(`/tokens/${api.part(one.id)}`, "Withdraw this token?", html`${name(one.name)} can then no longer use the API.`, "Withdraw")))}</ul>
        <button class="quiet" @click=${newToken}>${icon("plus")}New token</button></section>` : ""}</div>`;
  },
};
