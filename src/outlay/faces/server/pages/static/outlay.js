// What pages do beyond links and forms: theme, times in the viewer's zone, charts, parts that come later, live receipts.
// Only the theme and the menu are put right before the numbers are painted: all else waits until they are.

const root = document.documentElement;
const drawing = document.getElementById("script").dataset.drawing;
const pause = () => new Promise((resolve) => setTimeout(resolve));
// The second frame begins when the first, which shows the numbers, is on its way to the screen.
const painted = new Promise((resolve) => requestAnimationFrame(() => requestAnimationFrame(() => setTimeout(resolve))));

function keep(name, value) {
  document.cookie = `${name}=${value}; path=/; max-age=31536000; samesite=strict`;
}

// Times: the server writes them in the zone that it was told; the first page of a visitor is put right here. To ask
// for the zone takes a new browser up to a tenth of a second.

let zone;
function learnZone() {
  zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
  if (!zone || zone === root.dataset.zone) return;
  keep("outlay_zone", encodeURIComponent(zone));
  const told = document.getElementById("zone");
  if (told) told.textContent = zone;
}
function localTimes(within) {
  if (!zone || zone === root.dataset.zone) return;
  const form = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short", hour: "2-digit", minute: "2-digit", timeZone: zone });
  for (const time of within.querySelectorAll("time[data-local]")) {
    time.textContent = form.format(new Date(time.dateTime));
  }
}

// Theme

const prefersDark = matchMedia("(prefers-color-scheme: dark)");
function theme() {
  return root.dataset.theme || (prefersDark.matches ? "dark" : "light");
}
const themeButton = document.getElementById("theme");
if (themeButton) {
  const said = () => { themeButton.textContent = theme() === "dark" ? "Light theme" : "Dark theme"; };
  said();
  themeButton.hidden = false;
  themeButton.addEventListener("click", () => {
    root.dataset.theme = theme() === "dark" ? "light" : "dark";
    keep("outlay_theme", root.dataset.theme);
    said();
    redraw();
  });
  prefersDark.addEventListener("change", () => { said(); redraw(); });
}

// Charts. Drawing one is cut into tasks, so that the page answers in between: Vega-Lite made Vega, Vega read, Vega run.

let library;
function draws() {
  library ??= new Promise((resolve, reject) => {
    const script = document.createElement("script");
    script.src = drawing;
    script.type = "module";
    script.onload = () => resolve(window.vegaEmbed);
    script.onerror = () => reject(new Error("the library that draws charts did not load"));
    document.head.append(script);
  });
  return library;
}

let View;
async function compiled(embed, spec) {
  let found;
  const empty = await embed(document.createElement("div"), spec, {
    ast: true, actions: false, defaultStyle: false, tooltip: false, patch: (vega) => { found = vega; return { marks: [] }; },
  });
  View ??= class extends empty.view.constructor {
    async runAsync(...given) {
      if (!this.begun) await pause();
      this.begun = true;
      return super.runAsync(...given);
    }
  };
  empty.finalize();
  return found;
}

const drawn = new Map();

async function draw(figure) {
  const canvas = figure.querySelector(".canvas");
  try {
    const [embed, answer] = await Promise.all([draws(), fetch(`${figure.dataset.chart}${figure.dataset.chart.includes("?") ? "&" : "?"}theme=${theme()}`, { headers: { accept: "application/json" } })]);
    if (!answer.ok) throw new Error((await answer.json()).detail);
    const spec = await answer.json();
    await pause();
    const place = document.createElement("div");
    const height = Number(figure.dataset.height);
    const columns = Math.max(2, Math.floor(canvas.clientWidth / 130));
    for (const part of [spec, ...(spec.layer ?? [])]) {
      const legend = part.encoding?.color?.legend;
      if (legend) legend.columns = Math.min(legend.columns ?? columns, columns);
    }
    const vega = await compiled(embed, { ...spec, width: canvas.clientWidth, height });
    await pause();
    drawn.get(figure)?.finalize();
    const shown = await embed(place, vega, {
      mode: "vega", viewClass: View, hover: false, ast: true, actions: false, defaultStyle: false, renderer: "svg", tooltip: { disableDefaultStyle: true, theme: "own" },
    });
    canvas.replaceChildren(place);
    drawn.set(figure, shown);
    shown.view.addEventListener("click", (event, item) => {
      const address = item?.datum?.href;
      if (typeof address === "string" && address.startsWith("/")) location.assign(address);
    });
    const button = figure.querySelector("[data-png]");
    button.hidden = false;
    button.onclick = async () => {
      const link = document.createElement("a");
      link.href = await shown.view.toImageURL("png", 2);
      link.download = "outlay.png";
      link.click();
    };
    figure.dataset.drawn = "yes";
  } catch (error) {
    const said = document.createElement("p");
    said.className = "empty";
    said.textContent = `This chart could not be drawn: ${error.message}`;
    canvas.replaceChildren(said);
    figure.dataset.drawn = "failed";
  }
}

let queue = Promise.resolve();
function later(figure) {
  queue = queue.then(() => draw(figure));
}
const seen = new IntersectionObserver((entries) => {
  for (const { isIntersecting, target } of entries) {
    if (!isIntersecting) continue;
    seen.unobserve(target);
    if (target.dataset.part) fill(target); else later(target);
  }
}, { rootMargin: "120px" });
function redraw() {
  for (const figure of drawn.keys()) later(figure);
}
let width = innerWidth;
let resizing;
addEventListener("resize", () => {
  if (innerWidth === width) return;
  width = innerWidth;
  clearTimeout(resizing);
  resizing = setTimeout(redraw, 200);
});

// Parts that come when they are near to be seen

async function fill(part) {
  try {
    const answer = await fetch(part.dataset.part, { headers: { accept: "text/html" } });
    if (!answer.ok) throw new Error(answer.status);
    part.innerHTML = await answer.text();
    start(part);
  } catch {
    part.replaceChildren(Object.assign(document.createElement("p"), { className: "empty", textContent: "This could not be loaded. Load the page again." }));
  }
  part.dataset.filled = "yes";
}

// Live receipts: names of users are text, never markup.

function live(box) {
  const list = box.querySelector("ol");
  const said = box.querySelector("p");
  const source = new EventSource(box.dataset.live);
  const money = (text, currency) => {
    const number = Number(text);
    const digits = number >= 1 || !number ? 2 : number >= 0.01 ? 4 : 6;
    return new Intl.NumberFormat("en", { style: "currency", currency, minimumFractionDigits: digits, maximumFractionDigits: digits }).format(number);
  };
  source.addEventListener("receipts", (event) => {
    const told = JSON.parse(event.data);
    said.textContent = told.more ? `and ${told.more} more` : "";
    said.hidden = !told.more;
    for (const one of told.receipts) {
      const row = document.createElement("li");
      const link = Object.assign(document.createElement("a"), { href: `/receipts/${encodeURIComponent(one.id)}`, textContent: one.service });
      const what = document.createElement("span");
      what.append(link, ` ${[one.feature, one.user].filter(Boolean).join(" · ")}`);
      const time = Object.assign(document.createElement("span"), { className: "soft", textContent: new Date(one.time).toLocaleTimeString("en-GB") });
      const cost = Object.assign(document.createElement("span"), { className: "number", textContent: one.pricing_status === "unpriced" ? "unpriced" : money(one.total, one.currency), title: one.total });
      row.append(time, what, cost);
      list.prepend(row);
    }
    while (list.children.length > 8) list.lastChild.remove();
  });
}

function start(within) {
  localTimes(within);
  for (const one of within.querySelectorAll("[data-chart], [data-part]")) seen.observe(one);
  for (const box of within.querySelectorAll("[data-live]")) live(box);
}

if (location.pathname === "/signin") {
  // A link from elsewhere comes without the cookie; asked from here it is sent.
  fetch("/session").then(async (answer) => {
    if (answer.ok && (await answer.json()).signed_in) location.replace(document.querySelector("[name=next]").value || "/");
  });
}
// On a narrow screen the menu scrolls sideways: the present page is brought into it.
const menu = matchMedia("(max-width: 780px)").matches ? document.querySelector(".side nav") : null;
const present = menu?.querySelector("[aria-current]");
if (present && menu.scrollWidth > menu.clientWidth) menu.scrollLeft = present.offsetLeft - menu.offsetLeft - 24;
painted.then(() => {
  learnZone();
  start(document);
});
