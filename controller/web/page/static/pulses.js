// Messages just seen, as dots that run along their edges. Drawn beside the graph, so that it need not be repainted.

const LASTS = 900; // ms
const MOST = 60; // dots at once
const TOO_MANY = 600; // edges; above it dots would say nothing and cost much

export class Pulses {
  constructor(container, cy) {
    this.cy = cy;
    this.container = container;
    this.canvas = document.createElement("canvas");
    this.canvas.className = "pulses";
    this.canvas.setAttribute("aria-hidden", "true");
    container.append(this.canvas);
    this.running = new Map(); // edge id -> when it began
    this.calm = matchMedia("(prefers-reduced-motion: reduce)");
    this.colours();
  }

  colours() {
    const style = getComputedStyle(document.documentElement);
    this.tones = Object.fromEntries(["ok", "ask", "no"].map((tone) => [tone, style.getPropertyValue(`--${tone}`).trim()]));
  }

  along(edges) {
    if (this.calm.matches || document.hidden || this.cy.edges().length > TOO_MANY) return;
    const began = performance.now();
    for (const id of edges) if (!this.running.has(id) && this.running.size < MOST) this.running.set(id, began);
    if (this.running.size && !this.frame) this.frame = requestAnimationFrame((at) => this.draw(at));
  }

  draw(at) {
    const { canvas, container } = this;
    const scale = devicePixelRatio;
    const width = container.clientWidth, height = container.clientHeight;
    if (canvas.width !== width * scale || canvas.height !== height * scale) {
      canvas.width = width * scale;
      canvas.height = height * scale;
    }
    const context = canvas.getContext("2d");
    context.setTransform(scale, 0, 0, scale, 0, 0);
    context.clearRect(0, 0, width, height);
    for (const [id, began] of this.running) {
      const done = (at - began) / LASTS;
      const edge = this.cy.getElementById(id);
      if (done >= 1 || edge.empty()) this.running.delete(id);
      else this.dot(context, edge, Math.max(0, done));
    }
    this.frame = this.running.size ? requestAnimationFrame((next) => this.draw(next)) : null;
    if (!this.frame) context.clearRect(0, 0, width, height);
  }

  dot(context, edge, done) {
    const from = edge.renderedSourceEndpoint(), middle = edge.renderedMidpoint(), to = edge.renderedTargetEndpoint();
    if (!from || !to) return;
    // A quadratic curve through the middle of the edge, which is what Cytoscape bends it by.
    const bend = { x: 2 * middle.x - (from.x + to.x) / 2, y: 2 * middle.y - (from.y + to.y) / 2 };
    const part = edge.data("tone") === "no" ? done * 0.8 : done; // what is blocked does not arrive
    const rest = 1 - part;
    context.globalAlpha = done > 0.85 ? (1 - done) / 0.15 : 1;
    context.fillStyle = this.tones[edge.data("tone")];
    context.beginPath();
    context.arc(rest * rest * from.x + 2 * rest * part * bend.x + part * part * to.x,
      rest * rest * from.y + 2 * rest * part * bend.y + part * part * to.y, 5, 0, 7);
    context.fill();
    context.globalAlpha = 1;
  }

  end() {
    cancelAnimationFrame(this.frame);
    this.canvas.remove();
  }
}
