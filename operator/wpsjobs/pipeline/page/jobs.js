// Lists the jobs, follows the chosen one, starts and cancels. Asks the service alone, by relative URLs.

import { TileMap, around } from "./map.js";

const STATES = ["ready", "in progress", "finished", "failed", "cancelled"];
const ENDED = new Set(["finished", "failed", "cancelled"]);
const BUSY_MS = 1000; // between questions while a job moves
const IDLE_MS = 5000;
const LONGEST_MS = 30_000; // while the service does not answer
const MANY_TILES = 200;
const TRIES = 4; // to load a picture, while a network comes and goes

const $ = (id) => document.getElementById(id);
const map = new TileMap($("map"));
const towns = new Map();
const rows = new Map(); // by job_id: the element and what it shows
const known = { list: {}, job: {} }; // the last answers, with their ETags
let chosen = null;
let pictured = null; // URL of the picture that the map has or loads
let timer = 0, failures = 0, asking = 0;

class ServiceError extends Error {
  constructor(message, status = 0) {
    super(message);
    this.status = status; // of HTTP; 0 where there was no answer
  }
}

/** The data of an answer; undefined where nothing has changed since *before*. */
async function ask(path, before = {}, options = {}) {
  const headers = before.url === path && before.etag ? { "If-None-Match": before.etag } : {};
  let answer;
  try {
    answer = await fetch(path, { cache: "no-store", headers, ...options });
  } catch {
    throw new ServiceError("The service cannot be reached.");
  }
  if (answer.status === 304) return undefined;
  const body = await answer.json().catch(() => null);
  if (!answer.ok) {
    const words = body?.message ?? `The service answered ${answer.status}.`;
    throw new ServiceError(words, answer.status);
  }
  Object.assign(before, { url: path, etag: answer.headers.get("ETag"), data: body.data });
  return body.data;
}

const change = (path, parameters) =>
  ask(path, {}, { method: "POST", body: new URLSearchParams(parameters) });

function notice(words, good = false) {
  $("notice").textContent = words;
  $("notice").hidden = !words;
  $("notice").classList.toggle("good", good);
}

const nameOf = (job) => job.town_id === null
  ? `${job.tiles.length} ${job.tiles.length === 1 ? "tile" : "tiles"}`
  : towns.get(job.town_id) ?? `Town ${job.town_id}`;

function counted(job) {
  const numbers = STATES.map((state) => [state, job.tiles.filter((tile) => tile.state === state).length]);
  const words = numbers.filter(([, number]) => number).map(([state, number]) => `${number} ${state}`);
  return `${job.tiles.length} tiles: ${words.join(", ")}`;
}

const stateOf = (job) =>
  job.cancelling ? `${job.state}, being cancelled` : job.paused ? `${job.state}, paused` : job.state;

function clock(time) {
  if (!time) return "";
  const moment = new Date(time);
  const today = moment.toDateString() === new Date().toDateString();
  return today ? moment.toLocaleTimeString() : moment.toLocaleString();
}

function lasted(job) {
  if (!job.started_at || !job.finished_at) return "";
  const seconds = Math.max(0, Math.round((new Date(job.finished_at) - new Date(job.started_at)) / 1000));
  return seconds < 60 ? `, ${seconds} s` : `, ${Math.floor(seconds / 60)} min ${seconds % 60} s`;
}

function fillGrid(grid, job, withNumbers) {
  while (grid.children.length > job.tiles.length) grid.lastChild.remove();
  while (grid.children.length < job.tiles.length) grid.append(document.createElement("i"));
  job.tiles.forEach((tile, index) => {
    const cell = grid.children[index];
    const again = tile.restarts ? `, launched again ${tile.restarts}×` : "";
    cell.dataset.state = tile.state;
    cell.title = `Tile ${tile.tile_id}: ${tile.state}${again}`;
    cell.textContent = withNumbers ? tile.tile_id ?? index : "";
  });
  grid.classList.toggle("many", job.tiles.length > MANY_TILES);
  grid.setAttribute("aria-label", counted(job));
}

function makeRow(job) {
  const item = document.createElement("li");
  const row = item.appendChild(document.createElement("button"));
  row.type = "button";
  row.className = "job";
  row.dataset.job = job.job_id;
  row.innerHTML = '<span class="name"></span><span class="badge"></span>' +
    '<span class="when"></span><span class="note"></span><span class="grid" role="img"></span>';
  row.addEventListener("click", () => { location.hash = `job=${job.job_id}`; });
  return item;
}

function fillRow(item, job) {
  const row = item.firstChild;
  row.dataset.state = job.state;
  row.querySelector(".name").textContent = `${nameOf(job)} #${job.job_id}`;
  row.querySelector(".badge").textContent = stateOf(job);
  row.querySelector(".when").textContent = clock(job.created_at) + lasted(job);
  const done = job.tiles.filter((tile) => tile.state === "finished").length;
  row.querySelector(".note").textContent =
    ENDED.has(job.state) ? `${done} of ${job.tiles.length} tiles` : `${job.progress} %`;
  fillGrid(row.querySelector(".grid"), job, false);
}

function showList({ total, jobs }) {
  const list = $("jobs");
  const ids = new Set(jobs.map((job) => job.job_id));
  for (const [id, { item }] of rows) {
    if (ids.has(id)) continue;
    item.remove();
    rows.delete(id);
  }
  jobs.forEach((job, index) => {
    const text = JSON.stringify([job, towns.get(job.town_id)]);
    const row = rows.get(job.job_id) ?? { item: makeRow(job), text: "" };
    if (row.text !== text) fillRow(row.item, job);
    rows.set(job.job_id, { item: row.item, text });
    if (list.children[index] !== row.item) list.insertBefore(row.item, list.children[index] ?? null);
  });
  $("count").textContent = total > jobs.length ? `${jobs.length} of ${total} jobs` : `${total} ${total === 1 ? "job" : "jobs"}`;
  const filtered = $("filter-state").value || $("filter-town").value;
  $("empty").textContent = filtered ? "No job is like that." : "No job yet. Choose a town above and start one.";
  $("empty").hidden = jobs.length > 0;
  markChosen();
}

function markChosen() {
  for (const [id, { item }] of rows) item.firstChild.setAttribute("aria-current", String(id === chosen));
}

function showJob(job) {
  $("detail").hidden = false;
  $("detail").dataset.state = job.state;
  $("detail").dataset.job = job.job_id;
  $("title").textContent = `${nameOf(job)} #${job.job_id}`;
  $("state").textContent = stateOf(job);
  $("message").textContent = job.message ?? "";
  $("cancel").hidden = ENDED.has(job.state);
  $("cancel").disabled = job.cancelling;
  fillGrid($("grid"), job, job.tiles.length <= MANY_TILES);
  $("grid").classList.toggle("large", job.tiles.length <= MANY_TILES);
  map.show(job.tiles);
  showPicture(job);
  $("links").replaceChildren(...Object.entries(job.outputs).flatMap(([name, output]) => {
    if (!output.href) return [];
    const link = document.createElement("a");
    link.href = output.href;
    link.textContent = `${name} (${output.mime_type ?? "file"})`;
    return [link];
  }));
  $("log").replaceChildren(...job.log.map((entry) => {
    const line = document.createElement("li");
    line.innerHTML = "<time></time><b></b><span></span>";
    const [time, phase, words] = line.children;
    time.dateTime = entry.time;
    time.textContent = clock(entry.time);
    phase.textContent = entry.phase;
    words.textContent = entry.message;
    return line;
  }));
}

/** The first output that is a picture goes where the output "bounds" says, once it has loaded. */
function showPicture(job) {
  const outputs = Object.values(job.outputs);
  const href = outputs.find((output) => /^image\/(png|jpeg|webp)$/.test(output.mime_type))?.href ?? null;
  if (href === pictured) return;
  pictured = href;
  map.picture(null);
  delete $("map").dataset.picture;
  const bounds = outputs.find((output) => output.bounds?.length === 4)?.bounds ??
    around(job.tiles.filter((tile) => tile.bounds).map((tile) => tile.bounds));
  if (!href || !bounds) return;
  loadPicture(href, bounds, TRIES);
}

function loadPicture(href, bounds, tries) {
  const image = new Image();
  image.onload = () => {
    if (pictured !== href) return;
    map.picture(href, bounds);
    $("map").dataset.picture = `${image.naturalWidth}x${image.naturalHeight}`;
  };
  image.onerror = () => {
    if (pictured !== href) return;
    if (tries > 1) setTimeout(() => loadPicture(href, bounds, tries - 1), BUSY_MS);
    else notice(`The picture ${href} cannot be loaded.`);
  };
  image.src = href;
}

function choose() {
  const found = /^#job=(\d+)$/.exec(location.hash);
  chosen = found ? Number(found[1]) : null;
  known.job = {};
  $("detail").hidden = chosen === null;
  markChosen();
  poll();
}

async function follow() {
  if (chosen === null || ENDED.has(known.job.data?.state)) return;
  const asked = chosen;
  const before = { ...known.job };
  try {
    const job = await ask(`job_status?job_id=${asked}`, before);
    if (asked !== chosen || !job) return;
    const first = !known.job.data;
    known.job = before;
    showJob(job);
    if (first) $("title").focus({ preventScroll: true });
  } catch (error) {
    if (asked !== chosen) return;
    if (error.status !== 404) throw error;
    notice(error.message); // it has expired
    location.hash = "";
  }
}

async function refresh() {
  const filters = new URLSearchParams();
  for (const [name, id] of [["state", "filter-state"], ["town_id", "filter-town"]]) {
    if ($(id).value) filters.set(name, $(id).value);
  }
  const list = await ask(`list_jobs?${filters}`, known.list);
  if (list) showList(list);
  await follow();
}

/** Ask now, and again after a while; not while nobody looks. */
async function poll() {
  clearTimeout(timer);
  const turn = ++asking;
  if (document.hidden) return;
  let pause = IDLE_MS;
  try {
    await refresh();
    if (failures) notice("");
    failures = 0;
    const moves = known.list.data.jobs.some((job) => !ENDED.has(job.state));
    if (moves || (known.job.data && !ENDED.has(known.job.data.state))) pause = BUSY_MS;
  } catch (error) {
    if (!(error instanceof ServiceError)) throw error;
    pause = Math.min(IDLE_MS * 2 ** failures++, LONGEST_MS);
    notice(`${error.message} Asking again in ${pause / 1000} s.`);
  } finally {
    if (turn === asking) timer = setTimeout(poll, pause);
  }
}

async function loadTowns() {
  for (const town of await ask("list_towns")) {
    towns.set(town.town_id, town.name);
    $("town").append(new Option(`${town.name} (${town.tile_ids.length} tiles)`, town.town_id));
    $("filter-town").append(new Option(town.name, town.town_id));
  }
  $("town").selectedIndex = towns.size ? 1 : 0;
  chooseTown();
}

function chooseTown() {
  $("tiles").disabled = Boolean($("town").value);
  if ($("tiles").disabled) $("tiles").value = "";
  $("tiles").required = !$("tiles").disabled;
}

async function act(button, work) {
  button.disabled = true;
  try {
    notice("");
    await work();
    await poll();
  } catch (error) {
    if (!(error instanceof ServiceError)) throw error;
    notice(error.message);
  } finally {
    button.disabled = false;
    $("cancel").disabled = Boolean(known.job.data?.cancelling);
  }
}

$("town").addEventListener("change", chooseTown);
$("start").addEventListener("submit", (event) => {
  event.preventDefault();
  const parameters = $("town").value ? { town_id: $("town").value } : { tile_ids: $("tiles").value };
  act(event.submitter ?? $("start").querySelector("button"), async () => {
    const job = await change("start_job", parameters);
    location.hash = `job=${job.job_id}`;
  });
});
$("cancel").addEventListener("click", (event) => {
  const job = known.job.data;
  if (!job || !confirm(`Cancel the job ${nameOf(job)} #${job.job_id}? Its tiles are given up.`)) return;
  act(event.currentTarget, async () => {
    const cancelled = await change("cancel_job", { job_id: job.job_id });
    if (chosen !== cancelled.job_id) return;
    known.job = { data: cancelled };
    showJob(cancelled);
  });
});
for (const id of ["filter-state", "filter-town"]) $(id).addEventListener("change", poll);
for (const state of STATES) {
  $("filter-state").append(new Option(state, state));
  const word = $("legend").appendChild(document.createElement("span"));
  word.dataset.state = state;
  word.textContent = state;
}
addEventListener("hashchange", choose);
document.addEventListener("visibilitychange", poll);
loadTowns().catch((error) => notice(error.message)).finally(choose);
