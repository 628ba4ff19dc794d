// Who may look and answer: people, their devices, open invitations, and programs.

import * as api from "./api.js";
import { html } from "./vendor/lit-html/lit-html.js";
import { icon } from "./icons.js";
import { code, name, visible } from "./safe.js";
import { askWhether, closeSheet, openSheet, redrawSheet } from "./sheet.js";
import { changed, state } from "./store.js";
import { complain, toast } from "./toast.js";
import { ago, exactly } from "./words.js";

const ROLES = {
  manager: "answers everything, and invites others",
  resident: "answers what is harmless",
  viewer: "looks, and answers nothing",
};
let known = null;

async function refresh() {
  try {
    const [people, sessions, invitations, tokens] = await Promise.all(
      ["/people", "/sessions", "/invitations", "/tokens"].map(api.get));
    known = { people: people.people, sessions: sessions.sessions, invitations: invitations.invitations, tokens: tokens.tokens };
  } catch (problem) {
    complain(problem);
    known ??= { people: [], sessions: [], invitations: [], tokens: [] };
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
  openSheet(html`Invitation for ${name(who)}`, () => html`
    <p>Let ${name(who)} scan this with the phone that is to be signed in. It works once, until ${exactly(invitation.expires)}.</p>
    <img class="qr" alt="The link of the invitation as a QR code" src="data:image/svg+xml;utf8,${encodeURIComponent(invitation.qr_svg)}">
    <p class="link">${code(invitation.url, 300)}</p>
    <div class="row end"><button class="quiet" @click=${copy}>${icon("link")}Copy the link</button>
      <button class="primary" @click=${closeSheet}>Done</button></div>`);
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

const deviceOfPerson = (session) => html`<li class="sub">${icon("phone")}<span class="who">${name(session.device_label)}${session.here ? " (this one)" : ""}
    <small>since ${exactly(session.created)}${session.last_seen ? html`, here ${ago(session.last_seen)}` : ""}</small></span>
  <button class="bare" aria-label="Sign out ${visible(session.device_label)}" title="Sign out"
    @click=${() => dismiss(`/sessions/${api.part(session.id)}`, "Sign this device out?", html`${name(session.device_label)} will need a new link or a password.`, "Sign out")}>${icon("signout")}</button></li>`;

function person(one) {
  const mine = one.id === state.session.person.id;
  const sessions = known.sessions.filter((session) => (session.person?.id ?? session.person) === one.id);
  return html`<li class="person"><div class="program"><span class="tile">${icon("people")}</span>
    <div class="who">${name(one.name)}${mine ? " (you)" : ""}<small>${ROLES[one.role]}</small></div>
    <label><span class="unseen">Role of ${visible(one.name)}</span><select ?disabled=${mine}
      @change=${(event) => carry(() => api.patch(`/people/${api.part(one.id)}`, { role: event.target.value }))}>
      ${Object.keys(ROLES).map((role) => html`<option value=${role} ?selected=${one.role === role}>${role}</option>`)}</select></label>
    ${mine ? "" : html`<button class="bare" aria-label="Remove ${visible(one.name)}" title="Remove" @click=${() => dismiss(`/people/${api.part(one.id)}`,
      "Remove this person?", html`${name(one.name)} is signed out everywhere. What was decided stays.`, "Remove")}>${icon("trash")}</button>`}</div>
    ${sessions.length ? html`<ul>${sessions.map(deviceOfPerson)}</ul>` : ""}</li>`;
}

const simple = (drawing, word, small, label, remove) => html`<li class="program"><span class="tile small">${icon(drawing)}</span>
  <div class="who">${word}<small>${small}</small></div><button class="bare" aria-label=${label} title=${label} @click=${remove}>${icon("trash")}</button></li>`;

export const peoplePage = {
  title: "People",
  enter: refresh,
  view() {
    if (!known) return html`<div class="page narrow"><h1>People</h1><p aria-busy="true">Loading …</p></div>`;
    return html`<div class="page narrow"><h1>People</h1>
      <div class="row"><button class="primary" @click=${invite}>${icon("plus")}Invite somebody</button></div>
      <ul class="list">${known.people.map(person)}</ul>
      ${known.invitations.length ? html`<section class="group"><h2>Open invitations</h2><ul class="list">${known.invitations.map((one) => simple(
        "link", name(one.name), html`${one.role}, until ${exactly(one.expires)}`, `Withdraw the invitation of ${visible(one.name)}`,
        () => carry(() => api.remove(`/invitations/${api.part(one.id)}`))))}</ul></section>` : ""}
      <section class="group"><h2>Programs</h2><p class="small">Home automation and scripts use the API with a token of their own.</p>
        <ul class="list">${known.tokens.map((one) => simple("key", name(one.name), one.role, `Withdraw the token of ${visible(one.name)}`,
          () => dismiss(`/tokens/${api.part(one.id)}`, "Withdraw this token?", html`${name(one.name)} can then no longer use the API.`, "Withdraw")))}</ul>
        <button class="quiet" @click=${newToken}>${icon("plus")}New token</button></section></div>`;
  },
};
