"use strict";
/* Surfaces of the classes in 3D: meshes are made here, from the packed volumes, so that the level
   can be moved.  Needs WebGL 2 and nothing else; without it the pictures of the page remain. */
(function () {
  const node = document.getElementById("volume-data");
  const box = document.getElementById("viewer");
  if (!node || !box) return;
  const data = JSON.parse(node.textContent);
  const canvas = box.querySelector("canvas");
  const gl = canvas.getContext("webgl2", { antialias: true, preserveDrawingBuffer: true });
  if (!gl) {
    box.classList.add("missing");
    return;
  }
  let [nx, ny, nz] = data.size;
  const packed = nx * ny * nz;
  /* Twice as fine where the browser can draw that at once. */
  const fine = 8 * packed * (data.classes.length + 1) < 6e6;
  if (fine) [nx, ny, nz] = [2 * nx - 1, 2 * ny - 1, 2 * nz - 1];
  const count = nx * ny * nz;
  const mean = unpack(data.mean, false).map((v) => data.low + (v / 255) * (data.high - data.low));
  const states = data.classes.map((c) => state(c.name, c.colour, c.share, c.difference, c.scale));
  const moves = data.components.map((c) => ({ ...c, values: unpack(c.change, true) }));
  const find = (name) => box.querySelector("[data-part=" + name + "]");
  const level = find("level"), position = find("position"), path = find("path");
  const play = find("play"), labels = find("labels"), said = find("said");
  let turn = [1, 0, 0, 0, 1, 0, 0, 0, 1], zoom = 1, mode = "side", colouring = "difference";
  let playing = 0, waiting = false, stale = true, cells = [];
  const extent = radius();
  turned(0, -1.1);
  turned(0.5, 0);

  function unpack(text, signed) {
    const bytes = atob(text);
    const out = new Float32Array(packed);
    for (let i = 0; i < packed; i++) {
      const v = bytes.charCodeAt(i);
      out[i] = signed ? (v - 128) / 127 : v;
    }
    if (!fine) return out;
    const [a, b, c] = data.size;
    return doubled(doubled(doubled(out, a, 1, b * c), b, nx, c), c, nx * ny, 1);
  }

  /* Values half-way between those along one axis, by the cubic through four of them. */
  function doubled(values, n, inner, outer) {
    const out = new Float32Array(inner * (2 * n - 1) * outer);
    for (let o = 0; o < outer; o++) for (let k = 0; k < n; k++) {
      const next = Math.min(k + 1, n - 1), last = Math.max(k - 1, 0), far = Math.min(k + 2, n - 1);
      for (let i = 0; i < inner; i++) {
        const at = (j) => values[(o * n + j) * inner + i], to = (o * (2 * n - 1) + 2 * k) * inner + i;
        out[to] = at(k);
        if (k < n - 1) out[to + inner] = (9 * (at(k) + at(next)) - at(last) - at(far)) / 16;
      }
    }
    return out;
  }

  function state(name, colour, share, text, scale) {
    const difference = unpack(text, true).map((v) => v * scale);
    return { name, colour, share, difference, values: mean.map((m, i) => m + difference[i]),
      shown: true };
  }

  /* How far the particle reaches from the middle, so that it fills its place at any turn. */
  function radius() {
    const least = (Number(level.value) / 100) * data.high;
    let far = 1;
    for (let i = 0, z = 0; z < nz; z++) for (let y = 0; y < ny; y++) for (let x = 0; x < nx; x++, i++)
      if (mean[i] > least) far = Math.max(far, Math.hypot(x - nx / 2, y - ny / 2, z - nz / 2));
    return 1.06 * far;
  }

  /* Surface nets: one corner in each cell that the surface crosses, one face for each edge. */
  const corner = Array.from({ length: 8 }, (_, k) => (k & 1) + ((k >> 1) & 1) * nx + (k >> 2) * nx * ny);
  const edges = [0, 1, 2, 3, 4, 5, 6, 7, 0, 2, 1, 3, 4, 6, 5, 7, 0, 4, 1, 5, 2, 6, 3, 7];
  const cell = new Int32Array(count);

  function surface(values, difference, at) {
    const points = [], shades = [], faces = [];
    cell.fill(-1);
    for (let z = 0; z < nz - 1; z++) for (let y = 0; y < ny - 1; y++) {
      let i = (z * ny + y) * nx;
      for (let x = 0; x < nx - 1; x++, i++) {
        let inside = 0;
        for (let k = 0; k < 8; k++) if (values[i + corner[k]] > at) inside |= 1 << k;
        if (inside === 0 || inside === 255) continue;
        let px = 0, py = 0, pz = 0, shade = 0, n = 0;
        for (let e = 0; e < 24; e += 2) {
          const a = edges[e], b = edges[e + 1];
          if (((inside >> a) & 1) === ((inside >> b) & 1)) continue;
          const va = values[i + corner[a]], vb = values[i + corner[b]];
          const t = (at - va) / (vb - va);
          px += (a & 1) + t * ((b & 1) - (a & 1));
          py += ((a >> 1) & 1) + t * (((b >> 1) & 1) - ((a >> 1) & 1));
          pz += (a >> 2) + t * ((b >> 2) - (a >> 2));
          shade += difference[i + corner[a]] * (1 - t) + difference[i + corner[b]] * t;
          n++;
        }
        const own = (cell[i] = points.length / 3);
        points.push(x + px / n - nx / 2, y + py / n - ny / 2, z + pz / n - nz / 2);
        shades.push(shade / n);
        const first = inside & 1;
        if (((inside >> 1) & 1) !== first && y && z) quad(faces, own, i - nx, i - nx - nx * ny, i - nx * ny);
        if (((inside >> 2) & 1) !== first && x && z) quad(faces, own, i - 1, i - 1 - nx * ny, i - nx * ny);
        if (((inside >> 4) & 1) !== first && x && y) quad(faces, own, i - 1, i - 1 - nx, i - nx);
      }
    }
    return { points: new Float32Array(points), shades: new Float32Array(shades),
      faces: new Uint32Array(faces), normals: normals(points, faces, values) };
  }

  function quad(faces, own, b, c, d) {
    faces.push(own, cell[b], cell[c], own, cell[c], cell[d]);
  }

  /* The density's slope at each corner, from trilinear samples half a voxel away. */
  function normals(points, faces, values) {
    const out = new Float32Array(points.length), top = [nx - 1.001, ny - 1.001, nz - 1.001];
    const at = (x, y, z) => {
      x = Math.min(Math.max(x, 0), top[0]); y = Math.min(Math.max(y, 0), top[1]);
      z = Math.min(Math.max(z, 0), top[2]);
      const i = x | 0, j = y | 0, k = z | 0, u = x - i, v = y - j, w = z - k;
      const p = (k * ny + j) * nx + i, q = p + nx * ny;
      const a = values[p] * (1 - u) + values[p + 1] * u;
      const b = values[p + nx] * (1 - u) + values[p + nx + 1] * u;
      const c = values[q] * (1 - u) + values[q + 1] * u;
      const d = values[q + nx] * (1 - u) + values[q + nx + 1] * u;
      return (a * (1 - v) + b * v) * (1 - w) + (c * (1 - v) + d * v) * w;
    };
    for (let i = 0; i < points.length; i += 3) {
      const x = points[i] + nx / 2, y = points[i + 1] + ny / 2, z = points[i + 2] + nz / 2;
      out[i] = at(x - 0.7, y, z) - at(x + 0.7, y, z);
      out[i + 1] = at(x, y - 0.7, z) - at(x, y + 0.7, z);
      out[i + 2] = at(x, y, z - 0.7) - at(x, y, z + 0.7);
    }
    return out;
  }

  const program = gl.createProgram();
  for (const [kind, text] of [[gl.VERTEX_SHADER, `#version 300 es
    in vec3 point; in vec3 normal; in float shade;
    uniform mat3 turn; uniform vec2 scale; out vec3 n; out float s;
    void main() { vec3 p = turn * point; n = turn * normal; s = shade;
      gl_Position = vec4(p.xy * scale, -p.z * 0.004, 1.0); }`],
  [gl.FRAGMENT_SHADER, `#version 300 es
    precision highp float; in vec3 n; in float s; out vec4 ink;
    uniform vec3 colour; uniform float full; uniform float plain;
    void main() {
      float t = clamp(s / full, -1.0, 1.0);
      vec3 more = vec3(0.77, 0.13, 0.16), less = vec3(0.10, 0.36, 0.72), none = vec3(0.86);
      vec3 base = mix(none, t > 0.0 ? more : less, pow(abs(t), 0.8));
      base = plain > 1.5 ? mix(none, colour, smoothstep(0.12, 0.5, abs(t))) : mix(base, colour, plain);
      vec3 u = normalize(n + vec3(0.0, 0.0, 1e-9));
      float light = 0.34 + 0.56 * max(dot(u, normalize(vec3(-0.35, 0.5, 0.8))), 0.0)
        + 0.14 * max(u.z, 0.0);
      ink = vec4(base * light + 0.14 * pow(max(u.z, 0.0), 24.0), 1.0); }`]]) {
    const shader = gl.createShader(kind);
    gl.shaderSource(shader, text.trim());
    gl.compileShader(shader);
    gl.attachShader(program, shader);
  }
  gl.linkProgram(program);
  gl.useProgram(program);
  gl.enable(gl.DEPTH_TEST);
  gl.enable(gl.SCISSOR_TEST);
  const uniform = (name) => gl.getUniformLocation(program, name);
  const at = { turn: uniform("turn"), scale: uniform("scale"), colour: uniform("colour"),
    full: uniform("full"), plain: uniform("plain") };

  function upload(mesh, old) {
    const held = old || { buffers: [0, 1, 2, 3].map(() => gl.createBuffer()) };
    [["point", 3, mesh.points], ["normal", 3, mesh.normals], ["shade", 1, mesh.shades]].forEach(
      ([, , array], k) => {
        gl.bindBuffer(gl.ARRAY_BUFFER, held.buffers[k]);
        gl.bufferData(gl.ARRAY_BUFFER, array, gl.DYNAMIC_DRAW);
      });
    gl.bindBuffer(gl.ELEMENT_ARRAY_BUFFER, held.buffers[3]);
    gl.bufferData(gl.ELEMENT_ARRAY_BUFFER, mesh.faces, gl.DYNAMIC_DRAW);
    held.length = mesh.faces.length;
    return held;
  }

  function paint(item) {
    [["point", 3], ["normal", 3], ["shade", 1]].forEach(([name, size], k) => {
      const where = gl.getAttribLocation(program, name);
      gl.bindBuffer(gl.ARRAY_BUFFER, item.held.buffers[k]);
      gl.enableVertexAttribArray(where);
      gl.vertexAttribPointer(where, size, gl.FLOAT, false, 0, 0);
    });
    gl.bindBuffer(gl.ELEMENT_ARRAY_BUFFER, item.held.buffers[3]);
    const hex = parseInt((item.colour || "#8a94a0").slice(1), 16);
    gl.uniform3f(at.colour, (hex >> 16) / 255, ((hex >> 8) & 255) / 255, (hex & 255) / 255);
    gl.uniform1f(at.plain, mode === "over" ? 2 : colouring === "class" ? 1 : 0);
    gl.drawElements(gl.TRIANGLES, item.held.length, gl.UNSIGNED_INT, 0);
  }

  const film = { name: "", difference: new Float32Array(count), values: new Float32Array(count) };

  /* The volume at a place on the chosen path: -1 to 1 along a component, 0 to 1 between classes. */
  function place() {
    const t = Number(position.value) / 100, [kind, a, b] = path.value.split(" ");
    if (kind === "component") {
      const move = moves[Number(a)], z = move.low + t * (move.high - move.low);
      for (let i = 0; i < count; i++) film.difference[i] = z * move.scale * move.values[i];
      film.name = "component " + move.number + " at " + z.toPrecision(3);
      film.colour = "#8a94a0";
    } else {
      const one = states[Number(a)], two = states[Number(b)];
      for (let i = 0; i < count; i++)
        film.difference[i] = (1 - t) * one.difference[i] + t * two.difference[i];
      film.name = Math.round(100 * t) + " % of the way from " + one.name + " to " + two.name;
      film.colour = t < 0.5 ? one.colour : two.colour;
    }
    for (let i = 0; i < count; i++) film.values[i] = mean[i] + film.difference[i];
  }

  function build() {
    const threshold = (Number(level.value) / 100) * data.high;
    const shown = mode === "film" ? [film] : states.filter((s) => s.shown);
    if (mode === "film") place();
    for (const item of shown)
      item.held = upload(surface(item.values, item.difference, threshold), item.held);
    cells = mode === "over" ? [shown] : shown.map((item) => [item]);
    canvas.dataset.triangles = shown.reduce((sum, item) => sum + item.held.length / 3, 0);
    find("level-said").textContent = level.value + " % of the highest density";
    stale = false;
  }

  function draw() {
    waiting = false;
    if (stale) build();
    const width = canvas.clientWidth, ratio = Math.min(window.devicePixelRatio || 1, 2);
    const n = Math.max(cells.length, 1), most = width > 900 ? 4 : width > 520 ? 3 : 2;
    const columns = n <= most ? n : Math.ceil(n / Math.ceil(n / most));
    const rows = Math.ceil(n / columns), side = Math.min(width / columns, n === 1 ? 520 : 400);
    canvas.style.height = Math.round(rows * side) + "px";
    canvas.width = Math.round(width * ratio);
    canvas.height = Math.round(rows * side * ratio);
    gl.viewport(0, 0, canvas.width, canvas.height);
    gl.scissor(0, 0, canvas.width, canvas.height);
    gl.clearColor(0, 0, 0, 0);
    gl.clear(gl.COLOR_BUFFER_BIT);
    labels.textContent = "";
    gl.uniformMatrix3fv(at.turn, false, turn);
    gl.uniform1f(at.full, data.full);
    const wide = canvas.width / columns, high = side * ratio;
    const reach = extent / zoom, least = Math.min(wide, high);
    gl.uniform2f(at.scale, least / wide / reach, least / high / reach);
    cells.forEach((items, k) => {
      const column = k % columns, row = Math.floor(k / columns);
      const x = Math.round(column * wide), y = Math.round(canvas.height - (row + 1) * high);
      gl.viewport(x, y, Math.round(wide), Math.round(high));
      gl.scissor(x, y, Math.round(wide), Math.round(high));
      gl.clear(gl.DEPTH_BUFFER_BIT);
      items.forEach(paint);
      const label = document.createElement("span");
      label.textContent = items.map((i) => i.name + (i.share && items.length === 1 ? ", " + i.share : "")).join(", ");
      label.style.left = (100 * column) / columns + "%";
      label.style.top = row * side + "px";
      labels.appendChild(label);
    });
    if (!cells.length) said.textContent = "No class is chosen.";
  }

  function refresh(rebuild) {
    stale = stale || rebuild;
    if (!waiting) {
      waiting = true;
      requestAnimationFrame(draw);
    }
  }

  function turned(aside, up) {
    const c = Math.cos(aside), s = Math.sin(aside), d = Math.cos(up), e = Math.sin(up);
    const r = [c, e * s, -d * s, 0, d, e, s, -e * c, d * c]; /* columns of up x aside */
    const out = [];
    for (let k = 0; k < 3; k++) for (let i = 0; i < 3; i++)
      out.push(r[i] * turn[3 * k] + r[3 + i] * turn[3 * k + 1] + r[6 + i] * turn[3 * k + 2]);
    turn = out;
  }

  function step(time) {
    if (!playing) return;
    const share = ((time - playing) / 4000) % 2;
    position.value = String(Math.round(100 * (share > 1 ? 2 - share : share)));
    refresh(true);
    requestAnimationFrame(step);
  }

  const keys = { ArrowLeft: () => turned(-0.1, 0), ArrowRight: () => turned(0.1, 0),
    ArrowUp: () => turned(0, -0.1), ArrowDown: () => turned(0, 0.1),
    "+": () => (zoom *= 1.1), "=": () => (zoom *= 1.1), "-": () => (zoom /= 1.1) };
  canvas.addEventListener("keydown", (event) => {
    if (!keys[event.key] || event.ctrlKey || event.metaKey) return;
    keys[event.key]();
    event.preventDefault();
    refresh(false);
  });
  canvas.addEventListener("pointerdown", (event) => canvas.setPointerCapture(event.pointerId));
  canvas.addEventListener("pointermove", (event) => {
    if (!(event.buttons & 1)) return;
    turned(event.movementX * 0.01, event.movementY * 0.01);
    refresh(false);
  });
  canvas.addEventListener("wheel", (event) => {
    if (document.activeElement !== canvas) return; /* else the page scrolls */
    zoom = Math.min(Math.max(zoom * Math.exp(-event.deltaY * 0.001), 0.3), 8);
    event.preventDefault();
    refresh(false);
  }, { passive: false });
  box.querySelectorAll("[name=viewer-mode]").forEach((button) =>
    button.addEventListener("change", () => {
      mode = button.value;
      box.dataset.mode = mode;
      refresh(true);
    }));
  find("colour").addEventListener("change", (event) => {
    colouring = event.target.value;
    box.dataset.colour = colouring;
    refresh(false);
  });
  level.addEventListener("input", () => refresh(true));
  position.addEventListener("input", () => refresh(true));
  path.addEventListener("change", () => refresh(true));
  play.addEventListener("click", () => {
    playing = playing ? 0 : performance.now();
    play.textContent = playing ? "Stop" : "Play";
    if (playing) requestAnimationFrame(step);
  });
  box.querySelectorAll("[data-class]").forEach((tick) =>
    tick.addEventListener("change", () => {
      states[Number(tick.dataset.class)].shown = tick.checked;
      said.textContent = "";
      refresh(true);
    }));
  window.addEventListener("resize", () => refresh(false));
  window.addEventListener("beforeprint", () => refresh(false));
  canvas.addEventListener("webglcontextlost", () => box.classList.add("missing"));
  box.dataset.mode = mode;
  box.dataset.colour = colouring;
  box.classList.add("works");
  refresh(true);
})();
