// What became of an answer: asked for, in force, and whether it works now.

import { html } from "./vendor/lit-html/lit-html.js";
import { undo } from "./deciding.js";
import { icon } from "./icons.js";
import { visible } from "./safe.js";
import { atLeast, forgetAnswered, passedSince, state } from "./store.js";
import { ago, DURATIONS, may, milliseconds, some } from "./words.js";

/** In force is another thing than decided, and working is another still. */
export function effect(view) {
  const { decision } = view;
  if (decision.undone_at) return html`${icon("undo")}Taken back ${ago(decision.undone_at)} by ${visible(decision.undone_by)}`;
  if (!view.in_force) return html`${icon("clock")}Saved; the switches are being told …`;
  const force = `in force${view.latency == null ? "" : ` after ${milliseconds(view.latency)}`}`;
  if (!decision.approve) return html`${icon("ban")}Stays blocked, ${force}`;
  if (decision.device) return html`${icon("check")}It may join, ${force}`;
  const passed = Math.max(view.covers, passedSince(decision.id));
  return passed
    ? html`${icon("check")}<span><strong>It works now</strong>: ${some(passed, "message")} let through</span>`
    : html`${icon("clock")}Allowed, ${force}. Waiting for the device to try again …`;
}

export function outcome({ request, decision: number, mine }) {
  const view = state.decisions.get(number);
  const decision = view?.decision;
  const approve = decision?.approve;
  const tone = !decision ? "calm" : approve ? "ok" : "no";
  return html`<article class="card outcome ${tone}" aria-live="polite" data-request=${request.id}>
    <p class="said">${!decision ? icon("clock") : icon(approve ? "check" : "ban")}
      <bdi>${visible(decision ? may(request.sentence, approve) : request.sentence, 300)}</bdi></p>
    <p class="effect">${!decision ? (mine ? "Sending your answer …" : "This was settled meanwhile.") : effect(view)}</p>
    ${decision ? html`<p class="by">${mine ? "You" : visible(decision.by)}, ${ago(decision.at)}${approve && !decision.device ? `, ${DURATIONS[decision.duration]}` : ""}</p>` : ""}
    <div class="row end">
      ${decision && !decision.undone_at && atLeast("resident") ? html`<button class="quiet" @click=${() => undo(number)}>${icon("undo")}Undo</button>` : ""}
      <button class="bare" aria-label="Put this away" @click=${() => forgetAnswered(request.id)}>${icon("close")}</button>
    </div>
  </article>`;
}
