// One request as a card: the sentence, why it is asked, how risky it is, and the two answers.

import { html } from "./vendor/lit-html/lit-html.js";
import { answer, choice, sameAs, ticked } from "./deciding.js";
import { facts } from "./facts.js";
import { icon } from "./icons.js";
import { visible } from "./safe.js";
import { spoken } from "./sentence.js";
import { atLeast, changed, deviceOf, state } from "./store.js";
import { ago, DURATIONS, risk, SCOPES, some } from "./words.js";
import { openWhy } from "./why.js";

const ends = (request) => [deviceOf(request.client) ?? { name: request.client_name },
  request.server ? deviceOf(request.server) ?? { name: request.server_name } : null];

export function riskChip(word, kind) {
  const known = risk(word, kind);
  return html`<span class="chip ${known.tone}">${icon(known.icon)}${known.word}</span>`;
}

function attempts(request) {
  if (request.kind === "admission") return html`Nothing that it sends passes. First seen ${ago(request.first_seen)}.`;
  const often = request.attempts === 1 ? "Tried once" : `Tried ${request.attempts} times`;
  return request.still_trying
    ? html`${often}, last ${ago(request.last_seen)}.`
    : html`<strong>No longer trying</strong>: ${often.toLowerCase()}, last ${ago(request.last_seen)}.`;
}

/** What a sentence asks for, all of it, without who does: no device's name has these words in a sentence. */
const asked = (sentence) => visible(sentence, 200).replace(/^.*? wants to /, "");

/** The relationships of a card that is about several things, each with a tick. */
function questions(request) {
  if (request.relationships.length < 2) return "";
  const { left } = choice(request);
  const change = (id) => (event) => {
    if (event.target.checked) left.delete(id);
    else left.add(id);
    changed(true);
  };
  return html`<fieldset class="ticks"><legend>${some(request.relationships.length, "question")} in one card</legend>
    ${request.relationships.map((id, n) => {
      const view = state.relationships.get(id);
      return html`<label><input type="checkbox" .checked=${!left.has(id)} @change=${change(id)}>
        <bdi>${asked(request.questions[n])}</bdi>
        ${view ? riskChip(view.risk) : ""}</label>`;
    })}</fieldset>`;
}

const SHORT = { always: "Always", once: "Once", hour: "1 hour", tonight: "Tonight" };

function durations(request) {
  const made = choice(request);
  return html`<fieldset class="segments even"><legend class="unseen">How long it is allowed</legend>${Object.entries(SHORT).map(([value, word]) => html`
    <label><input type="radio" name="duration-${request.id}" .value=${value} .checked=${made.duration === value}
      @change=${() => { made.duration = value; changed(true); }}><span>${word}</span></label>`)}</fieldset>`;
}

function scopes(request) {
  const made = choice(request);
  return html`<label class="field">An answer is about
    <select @change=${(event) => { made.scope = event.target.value; changed(true); }}>
      ${Object.entries(SCOPES).map(([value, word]) => html`
        <option value=${value} ?selected=${made.scope === value}>${word}</option>`)}
    </select></label>`;
}

/** What "Allow" means in words, for the button itself: for how long, and what. */
function meaning(request) {
  const made = choice(request);
  if (request.kind === "admission") return { title: "Let it join", what: "and learn what it usually does" };
  const chosen = ticked(request);
  const number = chosen.length ? ` ${chosen.length} of ${request.relationships.length}` : "";
  return { title: `Allow${number} ${DURATIONS[made.duration]}`, what: made.scope === "operation" ? asked(request.sentence) : SCOPES[made.scope] };
}

function sure(request) {
  const made = choice(request);
  const [, server] = ends(request);
  return html`<div class="sure" role="group" aria-label="Are you sure?">
    <p>${icon("alert")}<span><strong>Are you sure?</strong> ${risk(request.risk, `${server?.kind} ${server?.name}`).word === "Opens a door"
      ? "This can open your home to somebody." : "A wrong answer could do harm."} If you do not know why it happens, keep it blocked.</span></p>
    <div class="answers">
      <button class="keep" @click=${() => { made.sure = false; changed(true); }}>Go back</button>
      <button class="danger" id="sure-${request.id}" ?disabled=${made.busy} @click=${() => answer(request, true)}>
        <span>Yes, ${meaning(request).title.toLowerCase()}</span><small>${meaning(request).what}</small></button>
    </div></div>`;
}

function suggestion(request) {
  if (!request.suggestion) return "";
  return html`<div class="hint">${icon("info")}<p><bdi>${visible(request.suggestion.sentence, 200)}</bdi></p>
    ${atLeast("manager") ? html`<button class="quiet" ?disabled=${choice(request).busy} @click=${() => sameAs(request)}>Same permissions</button>` : ""}</div>`;
}

function answers(request) {
  const made = choice(request);
  if (request.may_answer === false) {
    return html`<p class="note">${icon("lock")} It stays blocked. ${request.sensitive
      ? "Only a manager can allow this." : "You can look, but not answer."}</p>`;
  }
  if (made.sure) return sure(request);
  const [client] = ends(request);
  const admission = request.kind === "admission";
  const nothing = request.relationships.length > 0 && made.left.size === request.relationships.length;
  return html`
    ${admission ? "" : durations(request)}
    <div class="answers">
      <button class="keep" ?disabled=${made.busy || nothing} @click=${() => answer(request, false)}>
        <span>${admission ? "Keep out" : "Keep blocked"}</span><small>until you change it</small></button>
      <button class="allow" ?disabled=${made.busy || nothing} @click=${() => answer(request, true)}>
        <span>${meaning(request).title}</span><small><span class="unseen">${visible(client?.name)} may </span>${meaning(request).what}</small></button>
    </div>
    ${nothing ? html`<p class="note">Tick at least one question.</p>` : ""}`;
}

export function card(request) {
  const [client, server] = ends(request);
  return html`<article class="card risk-${request.risk} ${request.still_trying ? "" : "quietened"}"
      aria-labelledby="title-${request.id}" data-request=${request.id}>
    <h2 id="title-${request.id}" class="sentence">${spoken(request.sentence, client, server)}</h2>
    <p class="because">${visible(request.explanation, 300)} ${attempts(request)}</p>
    <p class="state">${request.kind === "admission" ? html`<span class="chip calm">${icon("plug")}New device</span>`
      : riskChip(request.risk, `${server?.kind} ${server?.name}`)}<span class="chip blocked">${icon("shield")}Blocked for now</span></p>
    ${suggestion(request)}
    ${questions(request)}
    ${answers(request)}
    <details class="more"><summary>Details</summary>
      ${request.kind === "admission" ? "" : scopes(request)}
      ${facts(request, client, server)}
      <button class="quiet" @click=${() => openWhy(request.id)}>${icon("question")}Why is this blocked?</button>
    </details>
  </article>`;
}
