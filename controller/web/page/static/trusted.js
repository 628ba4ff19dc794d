// The few scripts that are loaded by address. The browser takes such an address from here alone (Trusted Types).

const OURS = new Set(["/service-worker.js", "/page/layout-worker.js", "/page/vendor/cytoscape.min.js"]);

const policy = globalThis.trustedTypes?.createPolicy("graphwall", {
  createScriptURL: (url) => {
    if (!OURS.has(url)) throw new TypeError(`no script of ours: ${url}`);
    return url;
  },
});

export const script = (url) => (policy ? policy.createScriptURL(url) : url);
