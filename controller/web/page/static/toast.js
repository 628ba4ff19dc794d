// Short news at the edge of the screen, with undo; and the same words for screen readers.

import { html, render } from "./vendor/lit-html/lit-html.js";
import { repeat } from "./vendor/lit-html/directives/repeat.js";
import { icon } from "./icons.js";

const STAYS = 10_000; // ms
const most = () => (matchMedia("(min-width: 60rem)").matches ? 3 : 1); // a phone has room for one

let toasts = [];
let next = 1;

function draw() {
  const one = (toast) => html`
    <div class="toast ${toast.tone}" @pointerenter=${() => hold(toast)} @pointerleave=${() => release(toast)}
         @focusin=${() => hold(toast)} @focusout=${() => release(toast)}>
      ${icon(toast.icon)}
      <p>${toast.text}</p>
      ${toast.undo ? html`<button class="quiet" @click=${() => undo(toast)}>Undo</button>` : ""}
      <button class="bare" aria-label="Close this message" @click=${() => drop(toast)}>${icon("close")}</button>
    </div>`;
  render(repeat(toasts, (toast) => toast.id, one), document.getElementById("toasts"));
}

function drop(toast) {
  clearTimeout(toast.timer);
  toasts = toasts.filter((other) => other !== toast);
  draw();
}

const hold = (toast) => clearTimeout(toast.timer);

function release(toast) {
  clearTimeout(toast.timer);
  toast.timer = setTimeout(() => drop(toast), STAYS);
}

function undo(toast) {
  drop(toast);
  toast.undo();
}

/** Say something; `undo`, if given, is offered for ten seconds. */
export function toast({ text, tone = "", icon: drawing = "info", undo: back = null }) {
  const made = { id: next++, text, tone, icon: drawing, undo: back };
  toasts = [...toasts.slice(toasts.length - most() + 1), made];
  release(made);
  draw();
}

/** Why something did not work, and what to do. */
export const complain = (problem) =>
  toast({ text: html`<strong>${problem.message}</strong> ${problem.remedy ?? ""}`, tone: "no", icon: "alert" });

/** For screen readers alone. */
export function announce(text) {
  document.getElementById("said").textContent = text;
}
