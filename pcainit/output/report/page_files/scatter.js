"use strict";
/* Particles in the latent space: hover, zoom, colour, and choose by lasso. */
(function () {
  const node = document.getElementById("scatter-data");
  const box = document.getElementById("scatter");
  if (!node || !box) return;
  const data = JSON.parse(node.textContent), n = data.count;
  const canvas = box.querySelector("canvas"), pen = canvas.getContext("2d");
  if (!pen) return;
  const find = (name) => box.querySelector("[data-part=" + name + "]");
  const across = find("x"), upward = find("y"), hue = find("colour"), tip = find("tip");
  const said = find("said"), pick = find("pick");
  const rows = words(data.rows, Uint32Array), chosen = new Uint8Array(n);
  const axes = data.axes.map((a) => ({ ...a, values: scaled(a) }));
  const hues = data.colours.map((c) => ({ ...c, values: scaled(c) }));
  const byName = Object.fromEntries(hues.map((h) => [h.name, h]));
  let view = null, tool = "choose", lasso = [], waiting = false, under = -1, dragged = null;

  function words(text, Kind) {
    const bytes = Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
    return new Kind(bytes.buffer);
  }

  function scaled(column) {
    const raw = words(column.values, Uint16Array), out = new Float32Array(n);
    for (let i = 0; i < n; i++)
      out[i] = raw[i] === 65535 ? NaN : column.low + (raw[i] / 65534) * (column.high - column.low);
    return out;
  }

  function home() {
    const range = (values) => {
      const sorted = Float32Array.from(values.filter((v) => v === v)).sort();
      const low = sorted[Math.floor(sorted.length * 0.002)];
      const high = sorted[Math.ceil(sorted.length * 0.998) - 1], gap = 0.06 * (high - low) || 1;
      return [low - gap, high + gap];
    };
    const [a, b] = range(axes[across.value].values), [c, d] = range(axes[upward.value].values);
    view = { a, b, c, d };
  }

  const frame = () => ({ left: 62, top: 12, right: canvas.clientWidth - 12,
    bottom: canvas.clientHeight - 46 });
  const toX = (v, f) => f.left + ((v - view.a) / (view.b - view.a)) * (f.right - f.left);
  const toY = (v, f) => f.bottom - ((v - view.c) / (view.d - view.c)) * (f.bottom - f.top);

  const RAMP = [[68, 1, 84], [59, 82, 139], [33, 145, 140], [94, 201, 98], [230, 215, 50]];
  function ramp(t) {
    const u = Math.min(Math.max(t, 0), 0.9999) * 4, k = Math.floor(u), w = u - k;
    return "rgb(" + RAMP[k].map((v, i) => Math.round(v + w * (RAMP[k + 1][i] - v))).join() + ")";
  }

  function bins(colour) { /* bin of each point, and the colour of each bin */
    const index = new Uint8Array(n), kinds = colour.kinds;
    if (kinds) {
      for (let i = 0; i < n; i++) index[i] = colour.values[i] !== colour.values[i] ? 255 : Math.round(colour.values[i]) % 255;
      return { index, inks: kinds.map((k) => k.colour) };
    }
    const span = colour.high - colour.low || 1;
    for (let i = 0; i < n; i++) {
      const v = colour.values[i];
      index[i] = v !== v ? 255 : Math.round((31 * (v - colour.low)) / span);
    }
    return { index, inks: Array.from({ length: 32 }, (_, k) => ramp(k / 31)) };
  }

  function draw() {
    waiting = false;
    const ratio = Math.min(window.devicePixelRatio || 1, 2), style = getComputedStyle(box);
    const ink = style.getPropertyValue("--ink"), line = style.getPropertyValue("--line");
    const width = canvas.clientWidth, height = canvas.clientHeight, f = frame();
    canvas.width = width * ratio;
    canvas.height = height * ratio;
    pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    pen.clearRect(0, 0, width, height);
    pen.font = "13px system-ui, sans-serif";
    grid(f, ink, line);
    pen.save();
    pen.beginPath();
    pen.rect(f.left, f.top, f.right - f.left, f.bottom - f.top);
    pen.clip();
    const x = axes[across.value].values, y = axes[upward.value].values;
    const { index, inks } = bins(byName[hue.value]);
    const size = Math.min(Math.max(220 / Math.sqrt(n), 1.8), 8) * Math.min(Math.sqrt(zoomed()), 2.2);
    const some = chosen.includes(1);
    const groups = Array.from({ length: inks.length + 1 }, () => []);
    for (let i = 0; i < n; i++) groups[index[i] === 255 ? inks.length : index[i]].push(i);
    groups.forEach((members, k) => {
      pen.fillStyle = inks[k] || "#8a94a0";
      for (const i of members) {
        pen.globalAlpha = some && !chosen[i] ? 0.16 : 0.8;
        const px = toX(x[i], f), py = toY(y[i], f);
        pen.fillRect(px - size / 2, py - size / 2, size, size);
      }
    });
    pen.globalAlpha = 1;
    if (under >= 0) {
      pen.strokeStyle = ink;
      pen.lineWidth = 1.5;
      pen.strokeRect(toX(x[under], f) - size - 1, toY(y[under], f) - size - 1, 2 * size + 2, 2 * size + 2);
    }
    if (lasso.length > 1) {
      pen.strokeStyle = ink;
      pen.setLineDash([5, 4]);
      pen.beginPath();
      lasso.forEach((p, k) => pen[k ? "lineTo" : "moveTo"](p[0], p[1]));
      pen.closePath();
      pen.stroke();
    }
    pen.restore();
    canvas.dataset.drawn = n;
  }

  function zoomed() {
    const a = axes[across.value];
    return Math.max((a.high - a.low) / (view.b - view.a), 1);
  }

  function ticks(low, high) {
    const raw = (high - low) / 5, power = 10 ** Math.floor(Math.log10(raw));
    const step = [1, 2, 5, 10].find((s) => s * power >= raw) * power, out = [];
    for (let v = Math.ceil(low / step) * step; v <= high; v += step)
      out.push(Math.abs(v) < step / 1e6 ? 0 : v);
    return out;
  }

  function grid(f, ink, line) {
    pen.strokeStyle = line;
    pen.fillStyle = ink;
    pen.lineWidth = 1;
    pen.textAlign = "center";
    for (const v of ticks(view.a, view.b)) {
      const x = toX(v, f);
      pen.beginPath(); pen.moveTo(x, f.top); pen.lineTo(x, f.bottom); pen.stroke();
      pen.fillText(Number(v.toPrecision(3)), x, f.bottom + 18);
    }
    pen.textAlign = "right";
    for (const v of ticks(view.c, view.d)) {
      const y = toY(v, f);
      pen.beginPath(); pen.moveTo(f.left, y); pen.lineTo(f.right, y); pen.stroke();
      pen.fillText(Number(v.toPrecision(3)), f.left - 6, y + 4);
    }
    pen.textAlign = "center";
    pen.fillText(axes[across.value].title, (f.left + f.right) / 2, f.bottom + 38);
    pen.save();
    pen.translate(13, (f.top + f.bottom) / 2);
    pen.rotate(-Math.PI / 2);
    pen.fillText(axes[upward.value].title, 0, 0);
    pen.restore();
  }

  function refresh() {
    if (!waiting) {
      waiting = true;
      requestAnimationFrame(draw);
    }
  }

  function legend() {
    const colour = byName[hue.value], place = find("legend");
    place.textContent = "";
    const add = (text, ink) => {
      const item = document.createElement("span"), dot = document.createElement("i");
      dot.className = "dot";
      dot.style.background = ink;
      item.append(dot, text);
      place.appendChild(item);
    };
    const used = new Set(colour.values.map(Math.round));
    if (colour.kinds) colour.kinds.forEach((k, i) => used.has(i) && add(k.name, k.colour));
    else for (const t of [0, 0.25, 0.5, 0.75, 1])
      add((colour.low + t * (colour.high - colour.low)).toPrecision(3) + colour.unit, ramp(t));
  }

  function nearest(px, py) {
    const f = frame(), x = axes[across.value].values, y = axes[upward.value].values;
    let best = -1, least = 144;
    for (let i = 0; i < n; i++) {
      const d = (toX(x[i], f) - px) ** 2 + (toY(y[i], f) - py) ** 2;
      if (d < least) { least = d; best = i; }
    }
    return best;
  }

  function describe(i) {
    const words = [data.names ? data.names[i] : "row " + rows[i]];
    for (const h of hues) {
      const v = h.values[i];
      if (v !== v) continue;
      words.push(h.kinds ? h.kinds[Math.round(v)].name : h.title + " " + v.toPrecision(3) + h.unit);
    }
    return words.join(", ");
  }

  function within(px, py) {
    let inside = false;
    for (let i = 0, j = lasso.length - 1; i < lasso.length; j = i++) {
      const [ax, ay] = lasso[i], [bx, by] = lasso[j];
      if (ay > py !== by > py && px < ((bx - ax) * (py - ay)) / (by - ay) + ax) inside = !inside;
    }
    return inside;
  }

  function choose(test, keep) {
    for (let i = 0; i < n; i++) chosen[i] = test(i) || (keep && chosen[i]) ? 1 : 0;
    tell();
  }

  function tell() {
    const count = chosen.reduce((a, b) => a + b, 0);
    said.textContent = count ? count.toLocaleString("en") + " chosen" +
      (data.total > n ? " of the points shown, which are " + n.toLocaleString("en") + " of " + data.total.toLocaleString("en") + " particles" : "") : "";
    for (const name of ["copy", "save", "clear"]) find(name).disabled = !count;
    refresh();
  }

  const text = () => Array.from(rows).filter((_, i) => chosen[i]).join("\n") + "\n";

  function copy() {
    const old = () => {
      const area = document.createElement("textarea");
      area.value = text();
      box.appendChild(area);
      area.select();
      const done = document.execCommand("copy");
      area.remove();
      said.textContent = done ? "Copied." : "The browser does not let pages copy: download instead.";
    };
    if (!navigator.clipboard) return old();
    navigator.clipboard.writeText(text()).then(() => (said.textContent = "Copied."), old);
  }

  function save() {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([text()], { type: "text/plain" }));
    link.download = "rows.txt";
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  }

  function zoom(factor, px, py) {
    const f = frame(), u = px === undefined ? 0.5 : (px - f.left) / (f.right - f.left);
    const v = py === undefined ? 0.5 : (f.bottom - py) / (f.bottom - f.top);
    const w = (view.b - view.a) / factor, h = (view.d - view.c) / factor;
    const a = view.a + u * (view.b - view.a - w), c = view.c + v * (view.d - view.c - h);
    view = { a, b: a + w, c, d: c + h };
    refresh();
  }

  function shift(u, v) {
    const w = (view.b - view.a) * u, h = (view.d - view.c) * v;
    view = { a: view.a + w, b: view.b + w, c: view.c + h, d: view.d + h };
    refresh();
  }

  canvas.addEventListener("pointerdown", (event) => {
    canvas.setPointerCapture(event.pointerId);
    dragged = [event.offsetX, event.offsetY];
    lasso = tool === "choose" ? [dragged] : [];
  });
  canvas.addEventListener("pointermove", (event) => {
    const here = [event.offsetX, event.offsetY], f = frame();
    if (dragged && tool === "choose") lasso.push(here);
    else if (dragged) {
      shift((dragged[0] - here[0]) / (f.right - f.left), (here[1] - dragged[1]) / (f.bottom - f.top));
      dragged = here;
    } else {
      under = nearest(...here);
      tip.textContent = under < 0 ? "" : describe(under);
    }
    refresh();
  });
  canvas.addEventListener("pointerup", (event) => {
    if (dragged && lasso.length > 2) {
      const f = frame(), x = axes[across.value].values, y = axes[upward.value].values;
      choose((i) => within(toX(x[i], f), toY(y[i], f)), event.shiftKey);
    }
    dragged = null;
    lasso = [];
    refresh();
  });
  canvas.addEventListener("pointerleave", () => { under = -1; refresh(); });
  canvas.addEventListener("wheel", (event) => {
    if (document.activeElement !== canvas) return;
    zoom(Math.exp(-event.deltaY * 0.002), event.offsetX, event.offsetY);
    event.preventDefault();
  }, { passive: false });
  const keys = { ArrowLeft: () => shift(-0.1, 0), ArrowRight: () => shift(0.1, 0),
    ArrowUp: () => shift(0, 0.1), ArrowDown: () => shift(0, -0.1), "+": () => zoom(1.3),
    "=": () => zoom(1.3), "-": () => zoom(1 / 1.3), Escape: () => choose(() => false) };
  canvas.addEventListener("keydown", (event) => {
    if (!keys[event.key] || event.ctrlKey || event.metaKey) return;
    keys[event.key]();
    event.preventDefault();
  });
  for (const axis of [across, upward]) axis.addEventListener("change", () => { home(); refresh(); });
  hue.addEventListener("change", () => { legend(); refresh(); });
  pick.addEventListener("change", () => {
    const wanted = Number(pick.value), kind = byName.class;
    if (pick.value !== "" && kind) choose((i) => kind.values[i] === wanted);
    pick.value = "";
  });
  box.querySelectorAll("[name=scatter-tool]").forEach((button) =>
    button.addEventListener("change", () => (tool = button.value)));
  find("copy").addEventListener("click", copy);
  find("save").addEventListener("click", save);
  find("clear").addEventListener("click", () => choose(() => false));
  find("home").addEventListener("click", () => { home(); refresh(); });
  find("closer").addEventListener("click", () => zoom(1.5));
  find("farther").addEventListener("click", () => zoom(1 / 1.5));
  window.addEventListener("resize", refresh);
  window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", refresh);
  box.classList.add("works");
  document.documentElement.classList.add("points");
  home();
  legend();
  tell();
})();
