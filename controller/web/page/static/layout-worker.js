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

const SPACE = 110; // between neighbours, in the units of the picture

self.onmessage = ({ data: { number, nodes, edges, fixed } }) => {
  const cy = cytoscape({
    headless: true,
    styleEnabled: true,
    style: [{ selector: "node", style: { width: 90, height: 80 } }],
    elements: {
      nodes: nodes.map(({ id, parent }) => ({ data: { id, parent }, position: fixed[id] ?? { x: 0, y: 0 } })),
      edges: edges.map(([source, target], n) => ({ data: { id: `e${n}`, source, target } })),
    },
  });
  const held = Object.entries(fixed).map(([nodeId, position]) => ({ nodeId, position }));
  cy.layout({
    name: "fcose", animate: false, randomize: held.length === 0, quality: nodes.length > 300 ? "draft" : "proof",
    nodeSeparation: SPACE, idealEdgeLength: SPACE, nodeRepulsion: 9000, packComponents: true, tile: true,
    ...(held.length ? { fixedNodeConstraint: held } : {}),
  }).run();
  const places = {};
  cy.nodes().forEach((node) => {
    if (!node.isParent()) places[node.id()] = node.position();
  });
  cy.destroy();
  self.postMessage({ number, places });
};
