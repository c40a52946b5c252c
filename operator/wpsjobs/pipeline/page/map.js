// A map of tiles and one picture in longitude and latitude, with a graticule; no tile server.

const SVG = "http://www.w3.org/2000/svg";
const STEPS = [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 30];
const SCALES = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1e3, 2e3, 5e3, 1e4, 2e4, 5e4, 1e5, 2e5, 5e5];
const METRES_PER_DEGREE = 111_320;
const MARGIN = 0.08;
const TOOLS_PIXELS = 130; // where no label goes, in the upper right

function element(name, attributes = {}, parent = null) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  parent?.append(made);
  return made;
}

/** The rectangle around several, each as [west, south, east, north]; null for none. */
export function around(rectangles) {
  if (!rectangles.length) return null;
  const side = (index, pick) => pick(...rectangles.map((each) => each[index]));
  return [side(0, Math.min), side(1, Math.min), side(2, Math.max), side(3, Math.max)];
}

function degrees(value, positive, negative, digits) {
  return `${Math.abs(value).toFixed(digits)}° ${value < 0 ? negative : positive}`;
}

export class TileMap {
  #svg; #lines; #picture; #tiles; #labels; #place; #scale;
  #home = null; // what fits all: [west, south, east, north]
  #view = null; // centre and degrees of latitude per pixel
  #moved = false; // by hand: a change of size leaves the view

  constructor(figure) {
    this.#svg = element("svg", { role: "img", "aria-label": "Map of the tiles", tabindex: "0" }, figure);
    [this.#lines, this.#picture, this.#tiles, this.#labels] =
      ["lines", "picture", "tiles", "labels"].map((name) => element("g", { class: name }, this.#svg));
    const tools = figure.appendChild(document.createElement("div"));
    tools.className = "tools";
    for (const [sign, words, act] of [
      ["+", "Zoom in", () => this.#zoom(0.5)],
      ["−", "Zoom out", () => this.#zoom(2)],
      ["⌂", "Show all", () => this.fit()],
    ]) {
      const button = tools.appendChild(document.createElement("button"));
      button.type = "button";
      button.textContent = sign;
      button.setAttribute("aria-label", words);
      button.title = words;
      button.addEventListener("click", act);
    }
    this.#place = figure.appendChild(document.createElement("div"));
    this.#place.className = "place";
    this.#scale = figure.appendChild(document.createElement("div"));
    this.#scale.className = "scale";
    this.#listen();
    new ResizeObserver(() => (this.#moved ? this.#draw() : this.fit())).observe(this.#svg);
  }

  /** Tiles as {tile_id, state, bounds}; the view stays where the same area is shown again. */
  show(tiles) {
    const known = tiles.filter((tile) => tile.bounds);
    const home = around(known.map((tile) => tile.bounds));
    this.#tiles.replaceChildren(...known.map((tile) => {
      const rect = element("rect", { class: "tile", "data-state": tile.state });
      rect.bounds = tile.bounds;
      element("title", {}, rect).textContent = `Tile ${tile.tile_id}: ${tile.state}`;
      return rect;
    }));
    const done = tiles.filter((tile) => tile.state === "finished").length;
    this.#svg.setAttribute("aria-label", `Map: ${done} of ${tiles.length} tiles are finished`);
    if (home && String(home) !== String(this.#home)) {
      this.#home = home;
      this.fit();
    } else this.#draw();
  }

  /** Put a picture that has been loaded at *bounds*; null takes it away. */
  picture(href, bounds) {
    this.#svg.classList.toggle("pictured", Boolean(href));
    this.#picture.replaceChildren();
    if (href) {
      const image = element("image", { href, preserveAspectRatio: "none" }, this.#picture);
      image.bounds = bounds;
      if (!this.#home) {
        this.#home = bounds;
        this.fit();
      }
    }
    this.#draw();
  }

  fit() {
    const { width, height } = this.#svg.getBoundingClientRect();
    if (!this.#home || !width || !height) return;
    this.#moved = false;
    const [west, south, east, north] = this.#home;
    const latitude = (south + north) / 2;
    const shrink = Math.cos(latitude * Math.PI / 180);
    const most = Math.max((east - west) * shrink / width, (north - south) / height);
    this.#view = { longitude: (west + east) / 2, latitude, unit: most * (1 + 2 * MARGIN) || 1e-5 };
    this.#draw();
  }

  #zoom(factor) {
    if (!this.#view) return;
    this.#moved = true;
    this.#view.unit = Math.min(Math.max(this.#view.unit * factor, 1e-7), 0.5);
    this.#draw();
  }

  #listen() {
    let from = null;
    this.#svg.addEventListener("wheel", (event) => {
      event.preventDefault();
      this.#zoom(event.deltaY > 0 ? 1.25 : 0.8);
    }, { passive: false });
    this.#svg.addEventListener("pointerdown", (event) => {
      from = event;
      this.#svg.setPointerCapture(event.pointerId);
    });
    this.#svg.addEventListener("pointerup", () => { from = null; });
    this.#svg.addEventListener("pointermove", (event) => {
      if (!this.#view) return;
      if (from) {
        this.#move(event.clientX - from.clientX, event.clientY - from.clientY);
        from = event;
      }
      const box = this.#svg.getBoundingClientRect();
      const [east, north] = this.#place_at(event.clientX - box.left, event.clientY - box.top, box);
      this.#place.textContent = `${degrees(north, "N", "S", 4)}, ${degrees(east, "E", "W", 4)}`;
    });
    const keys = { ArrowLeft: [40, 0], ArrowRight: [-40, 0], ArrowUp: [0, 40], ArrowDown: [0, -40] };
    this.#svg.addEventListener("keydown", (event) => {
      if (event.key === "+") this.#zoom(0.5);
      else if (event.key === "-") this.#zoom(2);
      else if (event.key === "0") this.fit();
      else if (keys[event.key]) this.#move(...keys[event.key]);
      else return;
      event.preventDefault();
    });
  }

  #move(right, down) {
    if (!this.#view) return;
    this.#moved = true;
    this.#view.longitude -= right * this.#view.unit / this.#shrink;
    this.#view.latitude += down * this.#view.unit;
    this.#draw();
  }

  /** A degree of longitude, in degrees of latitude. */
  get #shrink() { return Math.max(Math.cos(this.#view.latitude * Math.PI / 180), 0.05); }

  #place_at(x, y, { width, height }) {
    return [
      this.#view.longitude + (x - width / 2) * this.#view.unit / this.#shrink,
      this.#view.latitude - (y - height / 2) * this.#view.unit,
    ];
  }

  #draw() {
    const box = this.#svg.getBoundingClientRect();
    if (!box.width || !this.#home) return;
    if (!this.#view) return this.fit();
    const { longitude, latitude, unit } = this.#view;
    const x = (value) => box.width / 2 + (value - longitude) * this.#shrink / unit;
    const y = (value) => box.height / 2 - (value - latitude) / unit;
    for (const each of [...this.#tiles.children, ...this.#picture.children]) {
      const [west, south, east, north] = each.bounds;
      const place = { x: x(west), y: y(north), width: x(east) - x(west), height: y(south) - y(north) };
      for (const [key, value] of Object.entries(place)) each.setAttribute(key, value.toFixed(2));
    }
    this.#graticule(box, x, y);
    this.#measure(unit);
  }

  #graticule(box, x, y) {
    const [west, south] = this.#place_at(0, box.height, box);
    const [east, north] = this.#place_at(box.width, 0, box);
    const step = STEPS.find((each) => (north - south) / each <= 6) ?? 30;
    const digits = Math.max(0, -Math.floor(Math.log10(step)));
    this.#lines.replaceChildren();
    this.#labels.replaceChildren();
    const line = (attributes, words, label) => {
      element("line", { class: "line", ...attributes }, this.#lines);
      const hidden = label.x > box.width - TOOLS_PIXELS || (label.x === 5 && label.y < 28);
      if (!hidden) element("text", label, this.#labels).textContent = words;
    };
    for (let index = Math.ceil(west / step); index * step <= east; index++) {
      const at = x(index * step).toFixed(2);
      line({ x1: at, x2: at, y1: 0, y2: box.height }, degrees(index * step, "E", "W", digits),
        { x: at, y: 14, "text-anchor": "middle" });
    }
    for (let index = Math.ceil(south / step); index * step <= north; index++) {
      const at = y(index * step).toFixed(2);
      line({ y1: at, y2: at, x1: 0, x2: box.width }, degrees(index * step, "N", "S", digits),
        { x: 5, y: at - 4 });
    }
  }

  #measure(unit) {
    const metres = unit * METRES_PER_DEGREE;
    const length = SCALES.findLast((each) => each / metres <= 120) ?? 1;
    this.#scale.style.width = `${length / metres}px`;
    this.#scale.textContent = length < 1000 ? `${length} m` : `${length / 1000} km`;
  }
}
