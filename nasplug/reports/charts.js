"use strict";
// Texts come from users: they are written as text nodes and attributes, never as markup.

const data = JSON.parse(document.getElementById("data").textContent);
const { axes, rows } = data;
const SVG = "http://www.w3.org/2000/svg";
const byId = (id) => document.getElementById(id);

function fill(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (value !== null && value !== false) node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.filter((child) => child !== null));
  return node;
}
const el = (tag, attributes = {}, ...children) => fill(document.createElement(tag), attributes, children);
const svg = (tag, attributes = {}, ...children) => fill(document.createElementNS(SVG, tag), attributes, children);

// --- texts that break, and texts to copy ---

function archCode(text) {
  // A line may break between the parts of an architecture.
  return el("code", {}, ...text.split(/(?<=[+,;/])/).flatMap((part) => [part, el("wbr")]));
}

function copied(text) {
  const code = archCode(text);
  const button = el("button", { type: "button", class: "copy" }, "Copy");
  button.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(text);
      button.textContent = "Copied";
    } catch {
      // Without leave to use the clipboard the text is selected, to be copied by hand.
      getSelection().selectAllChildren(code);
      button.textContent = "Selected";
    }
  });
  return [code, button];
}

// --- scales: positions of values on an axis, and its ticks ---

const HEIGHTS = {
  linear: (value) => value,
  log: (value) => Math.log10(Math.max(value, 1e-300)),
  error: (value) => -Math.log(Math.max(101 - value, 1e-3)),
};
const SCALE_WORDS = { linear: "linear scale", log: "logarithmic scale", error: "logarithmic scale of the error" };
const ACCURACIES = [0, 10, 20, 30, 40, 50, 60, 65, 70, 75, 80, 85, 88, 90, 91, 92, 93, 94, 95, 96, 97, 98, 99, 100];

function linearTicks(low, high, count) {
  const rough = (high - low) / Math.max(count, 1);
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 2.5, 5, 10].map((factor) => factor * power).find((size) => size >= rough);
  const ticks = [];
  for (let k = Math.ceil(low / step); k * step <= high + 1e-9 * step; k++) ticks.push(Number((k * step).toPrecision(12)));
  return ticks;
}

function ticksOf(scale, low, high, count) {
  let ticks = [];
  if (scale === "error") {
    const gap = (HEIGHTS.error(high) - HEIGHTS.error(low)) / (count * 2);
    // The best accuracies lie widest apart and have precedence.
    for (const mark of ACCURACIES.filter((value) => value >= low && value <= high).reverse())
      if (!ticks.length || HEIGHTS.error(ticks.at(-1)) - HEIGHTS.error(mark) >= gap) ticks.push(mark);
  } else if (scale === "log") {
    for (const factors of [[1, 2, 5], [1]]) {
      ticks = [];
      for (let power = Math.floor(Math.log10(low)); power <= Math.log10(high); power++)
        for (const factor of factors) ticks.push(Number((factor * 10 ** power).toPrecision(3)));
      ticks = ticks.filter((value) => value >= low && value <= high);
      if (ticks.length <= count * 1.7) break;
    }
  }
  return ticks.length > 2 ? ticks : linearTicks(low, high, count);
}

const short = (value) => (Math.abs(value) >= 1e5 ? value.toExponential(1) : String(Number(value.toPrecision(6))));

function rangeOf(scale, all, must) {
  // One outlier may not hide the others; what must be seen always is.
  const sorted = all.filter(Number.isFinite).map(HEIGHTS[scale]).sort((a, b) => a - b);
  const quantile = (share) => sorted[Math.round(share * (sorted.length - 1))];
  const reach = quantile(0.95) - quantile(0.05) || Math.abs(quantile(0.5)) * 0.1 || 1;
  const near = sorted.filter((h) => h >= quantile(0.05) - reach && h <= quantile(0.95) + reach);
  const shown = [...near, ...must.filter(Number.isFinite).map(HEIGHTS[scale])];
  const [low, high] = [Math.min(...shown), Math.max(...shown)];
  const edge = 0.05 * (high - low) || 0.05 * Math.abs(high) || 1;
  return [low - edge, high + edge];
}

function valueAt(scale, height) {
  return scale === "log" ? 10 ** height : scale === "error" ? 101 - Math.exp(-height) : height;
}

// --- a picture: axes with ticks, and a group that is clipped to them ---

let clips = 0;

function picture(host, x, y, label, ratio = 0.6) {
  const width = Math.max(host.clientWidth, 260);
  const height = Math.round(Math.min(Math.max(width * ratio, 230), 460));
  const box = { left: 46, right: width - 12, top: 12, bottom: height - 28 };
  const scaleTo = (axis, from, to) => (value) =>
    from + ((HEIGHTS[axis.scale](value) - axis.range[0]) / (axis.range[1] - axis.range[0])) * (to - from);
  const X = scaleTo(x, box.left, box.right);
  const Y = scaleTo(y, box.bottom, box.top);
  const root = svg("svg", { viewBox: `0 0 ${width} ${height}`, role: "group", "aria-label": label });
  const inside = (position, low, high) => position >= low - 0.5 && position <= high + 0.5;
  const ends = (axis) => axis.range.map((h) => valueAt(axis.scale, h));
  for (const value of ticksOf(x.scale, ...ends(x), width / 90)) {
    if (!inside(X(value), box.left, box.right) || (x.whole && value % 1)) continue;
    root.append(
      svg("line", { class: "grid", x1: X(value), x2: X(value), y1: box.top, y2: box.bottom }),
      svg("text", { class: "tick", x: X(value), y: box.bottom + 18, "text-anchor": "middle" }, short(value)),
    );
  }
  for (const value of y.bare ? [] : ticksOf(y.scale, ...ends(y), height / 55)) {
    if (!inside(Y(value), box.top, box.bottom)) continue;
    root.append(
      svg("line", { class: "grid", x1: box.left, x2: box.right, y1: Y(value), y2: Y(value) }),
      svg("text", { class: "tick", x: box.left - 7, y: Y(value) + 4, "text-anchor": "end" }, short(value)),
    );
  }
  const id = `clip-${clips++}`;
  const content = svg("g", { "clip-path": `url(#${id})` });
  const size = { x: box.left - 8, y: box.top - 8, width: box.right - box.left + 16, height: box.bottom - box.top + 16 };
  root.append(svg("clipPath", { id }, svg("rect", size)), content);
  host.replaceChildren(root);
  return { root, content, X, Y, box, width, height };
}

const cross = (x, y, r = 3.5) => svg("path", { class: "p-missed", d: `M${x - r} ${y - r}l${2 * r} ${2 * r}m0 ${-2 * r}l${-2 * r} ${2 * r}` });
const diamond = (x, y, kind, r = 5) => svg("path", { class: kind, d: `M${x} ${y - r}l${r} ${r}l${-r} ${r}l${-r} ${-r}z` });
const dot = (x, y, kind, r) => svg("circle", { class: kind, cx: x, cy: y, r });
const dash = (kind) => svg("line", { class: kind, x1: 1, x2: 15, y1: 8, y2: 8 });

function stairs(points, X, Y) {
  return points.map(([x, y], k) => (k ? `H${X(x)}V${Y(y)}` : `M${X(x)} ${Y(y)}`)).join("");
}

function legend(host, entries) {
  host.replaceChildren(...entries.map(([mark, text]) => el("span", {}, svg("svg", { viewBox: "0 0 16 16", "aria-hidden": true }, mark), text)));
}

function axisLabel(host, label, scale) {
  host.replaceChildren(label, ...(scale ? [el("small", {}, ` · ${SCALE_WORDS[scale]}`)] : []));
}
