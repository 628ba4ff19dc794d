// Finds places for vertices, beside the page, so that the page never stands still. A plain script: it loads plain scripts.

const own = self.trustedTypes?.createPolicy("graphwall", {
  createScriptURL: (url) => {
    if (!/^\/page\/vendor\/[a-z-]+(\.min)?\.js$/.test(url)) throw new TypeError(`no script of ours: ${url}`);
    return url;
  },
});
const script = (name) => (own ? own.createScriptURL(`/page/vendor/${name}`) : `/page/vendor/${name}`);

importScripts(script("cytoscape.min.js"), script("layout-base.js"), script("cose-base.js"), script("cytoscape-fcose.js"));
cytoscape.use(cytoscapeFcose);

const SPACE = 130; // between neighbours, in the units of the picture
const GAP = 150; // between parts that nothing joins

/** Parts that nothing joins, side by side in a picture of this shape; each turned the way that fits it. */
function pack(cy, places, aspect) {
  const parts = cy.elements().components().map((part) => {
    const ids = part.nodes().map((node) => node.id());
    if ((span(ids, places, "x") < span(ids, places, "y")) === (aspect > 1)) {
      for (const id of ids) places[id] = { x: places[id].y, y: places[id].x };
    }
    return { ids, width: span(ids, places, "x") + GAP, height: span(ids, places, "y") + GAP };
  }).sort((a, b) => b.height - a.height);
  let whole = 0;
  const found = parts.map((part) => rows(parts, whole += part.width)); // the first row ends with any of them
  const size = ({ width, height }) => Math.max(width / aspect, height);
  const { at } = found.reduce((best, one) => (size(one) < size(best) ? one : best), { width: Infinity, height: Infinity });
  parts.forEach(({ ids }, n) => {
    const x = Math.min(...ids.map((id) => places[id].x)), y = Math.min(...ids.map((id) => places[id].y));
    for (const id of ids) places[id] = { x: places[id].x - x + at[n].x, y: places[id].y - y + at[n].y };
  });
}

/** Parts in rows that are no wider than this: the corner of each, and the size of all. */
function rows(parts, widest) {
  let left = 0, top = 0, row = 0, width = 0;
  const at = parts.map((part) => {
    if (left > 0 && left + part.width > widest) [left, top, row] = [0, top + row, 0];
    const corner = { x: left, y: top };
    left += part.width;
    width = Math.max(width, left);
    row = Math.max(row, part.height);
    return corner;
  });
  return { at, width, height: top + row };
}

function span(ids, places, axis) {
  const all = ids.map((id) => places[id][axis]);
  return Math.max(...all) - Math.min(...all);
}

self.onmessage = ({ data: { number, nodes, edges, aspect } }) => {
  const cy = cytoscape({
    headless: true,
    styleEnabled: true,
    style: [{ selector: "node", style: { width: 90, height: 80 } }],
    elements: {
      nodes: nodes.map(({ id, parent }) => ({ data: { id, parent }, position: { x: 0, y: 0 } })),
      edges: edges.map(([source, target], n) => ({ data: { id: `e${n}`, source, target } })),
    },
  });
  cy.layout({
    name: "fcose", animate: false, randomize: true, quality: nodes.length > 300 ? "draft" : "proof",
    nodeSeparation: SPACE, idealEdgeLength: SPACE, nodeRepulsion: 9000, tile: true,
  }).run();
  const places = {};
  cy.nodes().forEach((node) => {
    if (!node.isParent()) places[node.id()] = node.position();
  });
  if (cy.nodes(":parent").empty()) pack(cy, places, aspect);
  cy.destroy();
  self.postMessage({ number, places });
};
