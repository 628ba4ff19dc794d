// Graph and model as files: taken along, and an edited model brought back after a look at what it would change.

import * as api from "./api.js";
import { html } from "./vendor/lit-html/lit-html.js";
import { icon } from "./icons.js";
import { name, visible } from "./safe.js";
import { closeSheet, openSheet } from "./sheet.js";
import { atLeast, state } from "./store.js";
import { complain, toast } from "./toast.js";
import { some } from "./words.js";

const FORMATS = [["svg", "Picture, SVG"], ["png", "Picture, PNG"], ["graphml", "GraphML"], ["dot", "Graphviz"], ["json", "JSON"]];
const KINDS = {
  allow: ["check", "ok"], deny: ["ban", "no"], forget: ["again", "ask"], device: ["devices", "calm"], service: ["service", "calm"],
};
const MOST = 300; // changes listed

const change = ({ kind, sentence }) => html`<li class=${KINDS[kind]?.[1] ?? "calm"}>${icon(KINDS[kind]?.[0] ?? "info")}
  <div><bdi>${visible(sentence, 300)}</bdi></div></li>`;

function show(file, bytes, { changes, fingerprint }) {
  let busy = false;
  const carryOut = async () => {
    if (busy) return;
    busy = true;
    closeSheet();
    try {
      await api.postYaml(`/import/model?fingerprint=${encodeURIComponent(fingerprint)}`, bytes);
      toast({ text: `${some(changes.length, "change is", "changes are")} carried out.`, icon: "check", tone: "ok" });
    } catch (problem) {
      complain(problem);
    }
  };
  openSheet(html`What ${name(file.name)} would change`, () => (changes.length
    ? html`<p>Nothing is changed yet. Look at each line: what it allows is allowed for good.</p>
      <ul class="reasons">${changes.slice(0, MOST).map(change)}</ul>
      ${changes.length > MOST ? html`<p class="small">and ${some(changes.length - MOST, "change")} more</p>` : ""}
      <div class="row end"><button class="quiet" autofocus @click=${closeSheet}>Cancel</button>
        <button class="danger" @click=${carryOut}>Make ${some(changes.length, "change")}</button></div>`
    : html`<p>Nothing: the site is already as the file says.</p>
      <div class="row end"><button class="primary" autofocus @click=${closeSheet}>Done</button></div>`), { wide: true });
}

async function chosen(event) {
  const [file] = event.target.files;
  if (!file) return;
  try {
    const bytes = await file.arrayBuffer(); // what was looked at is what is imported, whatever becomes of the file
    show(file, bytes, await api.postYaml("/import/model?preview=1", bytes));
  } catch (problem) {
    complain(problem);
  }
  event.target.value = ""; // the same file, edited once more, is to be looked at once more
}

export function files() {
  return html`<section class="group"><h2>Files</h2>
    <p class="small">The map, for other programs or as a picture:</p>
    <div class="row">${FORMATS.map(([format, word]) => html`
      <a class="button quiet" href="/api/v1/export/graph?format=${format}" download>${icon("download")}${word}</a>`)}</div>
    <p class="small">All that was learnt and decided, as text to keep, to edit and to bring back:</p>
    <div class="row"><a class="button quiet" href="/api/v1/export/model" download>${icon("download")}Save the model</a>
      ${atLeast("manager") ? html`<label class="button quiet pick-file">${icon("upload")}Bring a model back …
        <input class="unseen" type="file" accept=".yaml,.yml,application/yaml" @change=${chosen}></label>` : ""}</div></section>`;
}
