// One dialog: from below on a phone, in the middle elsewhere. Closes with Escape, a tap beside it, or its cross.

import { html, render } from "./vendor/lit-html/lit-html.js";
import { icon } from "./icons.js";

const dialog = () => document.getElementById("sheet");
let shown = null; // () => template, drawn again with the page

export function openSheet(title, body, { wide = false } = {}) {
  shown = () => html`
    <header><h2 id="sheet-title" tabindex="-1">${title}</h2>
      <button class="bare" aria-label="Close" @click=${closeSheet}>${icon("close")}</button></header>
    <div class="body">${body()}</div>`;
  const element = dialog();
  element.className = wide ? "wide" : "";
  redrawSheet();
  if (!element.open) element.showModal();
  element.querySelector(".body").scrollTop = 0;
}

export function closeSheet() {
  dialog().close();
}

export function redrawSheet() {
  if (shown) render(shown(), dialog());
}

export function prepareSheet() {
  const element = dialog();
  element.addEventListener("close", () => {
    shown = null;
    render("", element);
  });
  element.addEventListener("click", (event) => {
    if (event.target === element) closeSheet();
  });
}

/** Ask for a line of text; resolves to it, or null. */
export function askText(title, { label, value = "", button = "Save", longest = 200, type = "text" }) {
  return new Promise((resolve) => {
    let answer = null;
    const submit = (event) => {
      event.preventDefault();
      answer = new FormData(event.target).get("text").trim() || null;
      closeSheet();
    };
    openSheet(title, () => html`<form class="stack" @submit=${submit}>
      <label class="field">${label}
        <input name="text" type=${type} .defaultValue=${value} maxlength=${longest} required autocomplete="off" autofocus></label>
      <div class="row end"><button type="button" class="quiet" @click=${closeSheet}>Cancel</button>
        <button class="primary">${button}</button></div></form>`);
    dialog().querySelector("input").select();
    dialog().addEventListener("close", () => resolve(answer), { once: true });
  });
}

/** Ask whether; resolves to a boolean. */
export function askWhether(title, text, { yes, tone = "primary" }) {
  return new Promise((resolve) => {
    let answer = false;
    const agree = () => {
      answer = true;
      closeSheet();
    };
    openSheet(title, () => html`<p>${text}</p>
      <div class="row end"><button class="quiet" autofocus @click=${closeSheet}>Cancel</button>
        <button class=${tone} @click=${agree}>${yes}</button></div>`);
    dialog().addEventListener("close", () => resolve(answer), { once: true });
  });
}
