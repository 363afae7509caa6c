// Charts of the pages that rrt writes: axes, curves, and values at the pointer, which fingers and arrow keys move too.
// The build puts this file, and charts.css, into each page.
const colour = i => `var(--c${i % 8})`;
const round = (value, digits = 4) => +value.toPrecision(digits);
const short = v => Math.abs(v) >= 1e9 ? round(v / 1e9) + " G" : Math.abs(v) >= 1e6 ? round(v / 1e6) + " M"
  : Math.abs(v) >= 1e4 ? round(v / 1e3) + " k" : String(round(v));
const digits = v => v == null || !isFinite(v) ? "–" : Math.abs(v) >= 1e4 ? short(v) : Math.abs(v) >= 100 ? v.toFixed(0)
  : Math.abs(v) >= 0.01 || v === 0 ? v.toPrecision(4) : v.toExponential(1);
// What stands at an axis: all in the same unit.
function labels(list) {
  const most = largest(list.map(Math.abs)), [unit, name] = [[1e9, " G"], [1e6, " M"], [1e3, " k"]].find(u => most >= 10 * u[0]) || [1, ""];
  return list.map(v => v === 0 ? "0" : most < 1e-3 ? round(v).toExponential() : round(v / unit) + name);
}

function make(kind, attributes, ...children) {
  const node = document.createElement(kind);
  for (const name in attributes) node.setAttribute(name, attributes[name]);
  node.append(...children);
  return node;
}
function shape(kind, attributes, parent, text) {
  const node = document.createElementNS("http://www.w3.org/2000/svg", kind);
  for (const name in attributes) node.setAttribute(name, attributes[name]);
  if (text != null) node.textContent = text;
  if (parent) parent.append(node);
  return node;
}
const key = s => make("span", {class: s.dashed ? "dashed key" : "key", style: `--of:${s.colour};opacity:${s.opacity ?? 1}`});
const smallest = list => list.reduce((a, b) => Math.min(a, b), Infinity);
const largest = list => list.reduce((a, b) => Math.max(a, b), -Infinity);

function ticks(low, high, log, count) {
  const out = [];
  if (log) {
    for (let e = Math.floor(Math.log10(low)); 10 ** e <= high; e++)
      for (const k of [1, 2, 5]) if (k * 10 ** e >= low && k * 10 ** e <= high) out.push(round(k * 10 ** e));
    const sparse = out.length > 9 ? out.filter(v => /^1/.test(v.toExponential())) : out;
    if (sparse.length > 1) return sparse;
    out.length = 0;
  }
  const span = high - low || 1, unit = 10 ** Math.floor(Math.log10(span / count));
  const step = [1, 2, 5, 10].map(k => k * unit).find(k => span / k <= count) || 10 * unit;
  for (let v = Math.ceil(low / step - 1e-9) * step; v <= high + 1e-9 * span; v += step) out.push(round(v, 12));
  return out;
}

// The index of the value that is nearest to `at` in a rising list; -1 beyond its ends.
function nearest(list, at) {
  if (!(at >= list[0] && at <= list.at(-1))) return -1;
  let low = 0, high = list.length - 1;
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if (list[middle] < at) low = middle; else high = middle;
  }
  return low < high && Math.abs(list[high] - at) < Math.abs(list[low] - at) ? high : low;
}

// A chart of `series`, each {name, colour, x, y}, where x rises, with `raw` (values drawn faintly behind), `base` (an area
// from there up to y), `read` (values to be read in the place of y), `dots`, `dashed`, `onlyDots` where wanted. spec: title,
// xName, xFrom, xTo, yFrom, yTo, log, ends (values at the end are told), and stops [{x, y, text, colour}] where points are read one by one.
function plot(parent, spec) {
  const legend = make("div", {class: "legend"}), svg = shape("svg", {class: "plot", tabindex: 0, role: "slider"});
  svg.setAttribute("aria-label", spec.title + "; arrow keys read the values");
  parent.append(make("section", {}, make("h2", {}, spec.title), legend, svg));
  const series = spec.series, stops = spec.stops || [...new Set(series.flatMap(s => s.x))].sort((a, b) => a - b).map(x => ({x}));
  const ys = series.flatMap(s => [...s.y, ...(s.raw || []), ...(s.base || [])]).filter(y => y != null && (!spec.log || y > 0));
  const xs = series.flatMap(s => s.x), xFrom = spec.xFrom ?? 0, xTo = spec.xTo ?? (largest(xs) || 1);
  let low = spec.yFrom ?? smallest(ys), high = spec.yTo ?? largest(ys);
  if (low === high) [low, high] = spec.log ? [low / 2, high * 2] : [low - 0.5, high + 0.5];
  const bend = v => spec.log ? Math.log10(Math.max(v, low)) : v;
  let at = -1, width = 0, px, py, marks;

  // The legend, with the values at a stop, or at the end, and below it where that is.
  function say() {
    const stop = stops[at], parts = [];
    for (const s of series) {
      const i = stop ? nearest(s.x, stop.x) : s.y.length - 1, told = !spec.stops && (stop || spec.ends);
      const value = s.read && i >= 0 ? short(s.read[i]) : digits(s.y[i]);
      parts.push(make("span", {}, key(s), s.name, ...(told ? [" ", make("b", {}, value)] : [])));
    }
    const where = stop ? stop.text || `at ${short(stop.x)} ${spec.xName}` : spec.ends ? "at the end" : "";
    legend.replaceChildren(...parts, make("span", {class: "at"}, where));
    svg.setAttribute("aria-valuemin", 0);
    svg.setAttribute("aria-valuemax", Math.max(0, stops.length - 1));
    svg.setAttribute("aria-valuenow", Math.max(0, at));
    svg.setAttribute("aria-valuetext", [where, ...parts.map(p => p.textContent)].join(", "));
  }
  function mark() {
    marks.replaceChildren();
    const stop = stops[at];
    if (stop) {
      if (!stop.text) shape("line", {class: "pointer", x1: px(stop.x), x2: px(stop.x), y1: py(low), y2: py(high)}, marks);
      const dots = stop.text ? [stop] : series.map(s => [s, nearest(s.x, stop.x)]).filter(([, i]) => i >= 0)
        .map(([s, i]) => ({x: s.x[i], y: s.y[i], colour: s.colour}));
      for (const d of dots) {
        const style = stop.text ? `fill:none;stroke:${d.colour};stroke-width:2` : `fill:${d.colour}`;
        shape("circle", {cx: px(d.x), cy: py(d.y), r: stop.text ? 8 : 4, style}, marks);
      }
    }
    say();
  }
  function draw() {
    const W = svg.clientWidth, H = svg.clientHeight, left = 50, right = 14, top = 8, bottom = 38;
    svg.setAttribute("viewBox", `0 0 ${W} ${H}`);
    svg.replaceChildren();
    px = v => left + (v - xFrom) / (xTo - xFrom || 1) * (W - left - right);
    py = v => top + (bend(high) - bend(v)) / (bend(high) - bend(low)) * (H - top - bottom);
    const yTicks = ticks(low, high, spec.log, 5), xTicks = ticks(xFrom, xTo, false, W < 420 ? 3 : 5);
    labels(yTicks).forEach((text, i) => {
      shape("line", {class: "grid", x1: left, x2: W - right, y1: py(yTicks[i]), y2: py(yTicks[i])}, svg);
      shape("text", {x: left - 6, y: py(yTicks[i]) + 4, "text-anchor": "end"}, svg, text);
    });
    labels(xTicks).forEach((text, i) => shape("text", {x: px(xTicks[i]), y: H - 21, "text-anchor": "middle"}, svg, text));
    shape("text", {x: (left + W - right) / 2, y: H - 4, "text-anchor": "middle"}, svg, spec.xName);
    const points = (s, values) => values.map((v, i) => v == null || (spec.log && v <= 0) ? "" : `${px(s.x[i]).toFixed(1)} ${py(v).toFixed(1)}`)
      .filter(Boolean);
    const path = (kind, style, places) => shape("path", {class: kind, style, d: `M${places.join("L")}`}, svg);
    for (const s of series) {
      const style = `stroke:${s.colour}` + (s.dashed ? ";stroke-dasharray:6 4" : "");
      if (s.base) {
        path("area", `fill:${s.colour};opacity:${s.opacity}`, [...points(s, s.y), ...points(s, s.base).reverse()]);
        continue;
      }
      if (s.raw) path("curve raw", style, points(s, s.raw));
      if (!s.onlyDots) path("curve", style, points(s, s.y));
      if (s.dots) s.x.forEach((x, i) => s.y[i] == null || shape("circle", {cx: px(x), cy: py(s.y[i]), r: 3.5, style: `fill:${s.colour}`}, svg));
    }
    marks = shape("g", {}, svg);
    mark();
  }
  function point(event) {
    const box = svg.getBoundingClientRect(), x = event.clientX - box.left, y = event.clientY - box.top;
    const distance = s => s.text ? Math.hypot(px(s.x) - x, py(s.y) - y) : Math.abs(px(s.x) - x);
    at = stops.reduce((best, s, i) => best < 0 || distance(s) < distance(stops[best]) ? i : best, -1);
    mark();
  }
  svg.addEventListener("pointermove", point);
  svg.addEventListener("pointerdown", point);
  svg.addEventListener("pointerleave", event => { if (event.pointerType === "mouse") { at = -1; mark(); } });
  svg.addEventListener("keydown", event => {
    const last = stops.length - 1, far = Math.max(1, Math.round(stops.length / 20));
    const to = {ArrowRight: at + 1, ArrowUp: at + 1, ArrowLeft: at < 0 ? last : at - 1, ArrowDown: at < 0 ? last : at - 1,
                PageUp: at + far, PageDown: at - far, Home: 0, End: last, Escape: -1}[event.key];
    if (to == null) return;
    event.preventDefault();
    at = to < 0 && event.key !== "Escape" ? 0 : Math.min(to, last);
    mark();
  });
  svg.addEventListener("blur", () => { at = -1; mark(); });
  new ResizeObserver(() => {
    if (svg.clientWidth === width) return;
    width = svg.clientWidth;
    draw();
  }).observe(svg);
}
