"use strict";
(() => {
  const about = JSON.parse(document.getElementById("about").textContent);
  const names = about.implementations;
  const $ = (id) => document.getElementById(id);
  const panel = $("panel"), search = $("search"), stateBox = $("state"), implBox = $("implementation");
  const sheet = document.head.appendChild(document.createElement("style"));

  // The rows, read once.
  const groups = [];
  const byId = new Map();
  for (const body of document.querySelectorAll("tbody.rows")) {
    const head = body.previousElementSibling;
    const kind = body.closest("section").dataset.kind;
    const group = { body, head, kind, name: body.dataset.group, toggle: head.querySelector(".toggle"), rows: [], open: false };
    for (const tr of body.matches(".properties") ? [] : body.rows) {
      const cells = [...tr.querySelectorAll(".c")];
      const row = { tr, group, kind, key: tr.dataset.key, cells, states: cells.map((cell) => cell.className.slice(4)),
        text: `${tr.cells[0].textContent} ${group.name} ${tr.dataset.key}`.toLowerCase() };
      group.rows.push(row);
      byId.set(tr.id, row);
    }
    groups.push(group);
  }
  const total = byId.size;
  const byKey = new Map([...byId.values()].map((row) => [row.key, row]));

  // Elements are made with their text, never from text as HTML: what a test printed stays text.
  function make(tag, text, attributes = {}) {
    const node = document.createElement(tag);
    if (text !== undefined && text !== null) node.textContent = text;
    for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
    return node;
  }

  // The result files.
  const files = new Map();
  function file(place) {
    if (!files.has(place)) files.set(place, unpack(place));
    return files.get(place);
  }
  const unpack = (place) => unpackLink(document.querySelector(`.environment a.download[data-impl="${place}"]`));
  async function unpackLink(link) {
    const bytes = Uint8Array.from(atob(link.href.slice(link.href.indexOf(",") + 1)), (letter) => letter.charCodeAt(0));
    const plain = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
    return JSON.parse(await new Response(plain).text());
  }
  async function download(place) {
    const text = JSON.stringify(await file(place), null, 1);
    const link = make("a", "", { href: URL.createObjectURL(new Blob([text], { type: "application/json" })), download: `${names[place]}.json` });
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10000);
  }
  function said(content, kind, key) {
    if (kind !== "transforms") return (content[kind] || {})[key];
    const cut = key.lastIndexOf(": ");
    return ((content.transforms || {})[key.slice(0, cut)] || {})[key.slice(cut + 2)];
  }

  // Folding and filtering.
  function show(group, open) {
    group.open = open;
    group.body.classList.toggle("open", open);
    group.toggle.setAttribute("aria-expanded", String(open));
  }
  function fits(row, words, state, place) {
    if (!words.every((word) => row.text.includes(word))) return false;
    if (!state) return true;
    // An incomplete run is in every row, and hides what others do not pass.
    const all = state === "not passed" ? row.states.filter((_, at) => about.complete[at]) : row.states;
    const states = place < 0 ? all : [row.states[place]];
    return states.some((one) => (state === "not passed" ? one !== "passed" : one === state));
  }
  function filter(keep) {
    const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    const state = stateBox.value, place = names.indexOf(implBox.value), active = Boolean(words.length || state);
    let found = 0;
    for (const group of groups) {
      let here = 0;
      for (const row of group.rows) {
        const fit = !active || fits(row, words, state, place);
        row.tr.hidden = !fit;
        here += fit;
      }
      // Counts over all rows mean nothing of some.
      if (group.body.matches(".properties")) here = Number(!active);
      group.head.hidden = !here;
      found += group.rows.length && here;
      if (!keep) show(group, active && here > 0);
    }
    for (const section of document.querySelectorAll("section.kind"))
      section.hidden = groups.every((group) => group.kind !== section.dataset.kind || group.head.hidden);
    $("count").textContent = active ? `${found} of ${total} rows` : `${total} rows`;
    $("nothing").hidden = found > 0;
    // One implementation's column alone; the table is narrow then.
    sheet.textContent = place < 0 ? "" : `.wide > * > tr > :nth-child(n+2):not(:nth-child(${place + 2})),
      .wide col:nth-child(n+2):not(:nth-child(${place + 2})) { display: none; } table.wide { min-width: 0 !important; }`;
    told();
  }
  function told() {
    const open = groups.some((group) => group.open && !group.head.hidden);
    $("fold").textContent = open ? "Fold all" : "Unfold all";
    $("fold").setAttribute("aria-expanded", String(open));
  }
  function choose(state, name, words) {
    stateBox.value = state; implBox.value = name; search.value = words;
    filter(false);
  }
  function clear() { choose("", "", ""); }

  // What opens beside the table.
  let opened = null;
  function close() {
    panel.hidden = true;
    if (opened && opened.isConnected) opened.focus();
    opened = null;
  }
  function begin(title, ...below) {
    const button = make("button", "Close", { type: "button", id: "close" });
    button.addEventListener("click", close);
    panel.replaceChildren(button, make("h2", title, { id: "panel-title" }), ...below);
    panel.hidden = false;
    panel.scrollTop = 0;
  }
  function badge(state) {
    return make("span", `${about.marks[state] || "✗"} ${state}`, { class: `state s-${state.replace("not ", "")}` });
  }
  function line(...parts) {
    const p = make("p");
    p.append(...parts);
    return p;
  }
  function folded(title, node, open) {
    const details = make("details");
    details.open = Boolean(open);
    details.append(make("summary", title), node);
    return details;
  }
  function list(items) {
    const ul = make("ul");
    for (const item of items) ul.append(make("li", item));
    return ul;
  }
  // As a shell reads it.
  const quoted = (word) => (/[^\w./:-]/.test(word) ? `'${word}'` : word);
  function reproduce(place, tests) {
    const nodes = tests.map((test) => quoted(`spec_tests.suite.${test.replace(/\.py::/, "::").replaceAll("/", ".")}`));
    return `spec-tests run --impl ${names[place]} ${nodes.join(" ")}`;
  }
  function environment(place) {
    const section = $(`environment-${names[place]}`).querySelector("dl").cloneNode(true);
    for (const link of section.querySelectorAll("a.download")) link.href = `#environment-${names[place]}`;
    return folded("Environment and command", section);
  }
  function json(value, place) {
    const box = folded("JSON", make("pre", JSON.stringify(value, null, 1), { class: "wrap" }));
    box.append(whole(place));
    return box;
  }
  function whole(place) {
    return line(make("a", `${names[place]}.json`, { href: "#", class: "download", "data-impl": place }), ", the whole file");
  }
  function texts(row) {
    const wanted = { clauses: [row.key], options: ["rnn-59"] }[row.kind] || about.clauses[row.key] || [];
    const out = [];
    for (const id of new Set(wanted)) {
      const text = $(`text-${id}`);
      if (!text) continue;
      const copy = text.cloneNode(true);
      copy.removeAttribute("id");
      copy.querySelector("a").href = `#text-${id}`;
      out.push(copy);
    }
    return out.length ? [make("h3", out.length > 1 ? "Clauses" : "Clause"), ...out] : [];
  }
  function properties(found) {
    const rows = Object.entries(found.properties || {});
    if (!rows.length) return [];
    const table = make("table", null, { class: "plain" });
    for (const [what, one] of rows) {
      const tr = make("tr"), td = make("td");
      td.append(badge(one.state));
      tr.append(make("th", what), td, make("td", one.state === "passed" ? "" : one.why === found.why ? "as above" : one.why));
      table.append(tr);
    }
    return [make("h3", "Properties"), table];
  }
  function tested(found, place) {
    const tests = found.tests || [];
    if (!tests.length) return [];
    const why = found.why || "", wrong = tests.filter((test) => why.includes(`${test}: `));
    const chosen = (wrong.length ? wrong : tests).slice(0, 5);
    const ended = Object.entries(found.outcomes || {}).map(([word, count]) => `${count} ${word}`).join(", ");
    const out = [make("h3", "To reproduce"), make("pre", reproduce(place, chosen), { class: "wrap command" })];
    const left = (wrong.length || tests.length) - chosen.length;
    if (left > 0) out.push(make("p", `and ${left} more tests, listed below`, { class: "soft" }));
    out.push(make("p", "What it prints holds the call, and a script that fails alike.", { class: "soft" }));
    out.push(folded(`${tests.length} test${tests.length > 1 ? "s" : ""}: ${ended}`, list(tests), tests.length <= 12));
    return out;
  }
  async function openCell(row, place, button) {
    const state = row.states[place], title = row.tr.cells[0].textContent.trim();
    const where = row.kind === "transforms" || row.kind === "options" ? `${title}: ${row.group.name}` : title;
    const top = line(badge(state), ` ${names[place]}`);
    begin(where, top);
    opened = button;
    history.replaceState(null, "", `#${row.tr.id}@${names[place]}`);
    const content = await file(place);
    if (opened !== button) return;
    const found = said(content, row.kind, row.key), parts = [];
    if (about.signatures[row.key]) parts.push(line(make("code", about.signatures[row.key])));
    if (!about.complete[place]) {
      parts.push(make("p", `The run is incomplete, so this is no result: ${content.why_incomplete || "a part of the suite was run"}.`));
      for (const [what, bad, why] of (about.found[names[place]] || {})[row.key] || [])
        parts.push(line(badge(bad), ` ${what}, in the part that was run`), make("pre", why, { class: "wrap" }));
      if (found && ["failed", "crashed"].includes(found.status)) parts.push(...tested(found, place));
    } else if (!found) {
      parts.push(make("p", "The run did not ask for it."));
    } else {
      const bad = state === "failed" || state === "crashed";
      if (found.why) parts.push(make("h3", bad ? "What went wrong" : "Why"), make("pre", found.why, { class: "wrap" }));
      parts.push(...properties(found), ...tested(found, place));
    }
    parts.push(...texts(row), environment(place));
    parts.push(found && about.complete[place] ? json(found, place) : whole(place));
    panel.append(...parts);
  }
  function counted(rows, place) {
    const counts = Object.fromEntries(about.states.map((state) => [state, 0]));
    for (const row of rows) counts[row.states[place]] += 1;
    return counts;
  }
  function openCounts(title, rows, place, button, link) {
    const counts = counted(rows, place);
    begin(title, line(names[place]));
    opened = button;
    if (!about.complete[place]) panel.append(line(badge("incomplete"), " no result"));
    const ul = make("ul");
    for (const [state, count] of Object.entries(counts)) if (count) {
      const li = make("li", `${count} `);
      li.append(badge(state));
      ul.append(li);
    }
    panel.append(ul);
    if (link) panel.append(link);
    panel.append(environment(place));
    panel.append(about.complete[place] ? json(counts, place) : whole(place));
  }
  async function openProperty(what, place, button) {
    begin(what, line(names[place]));
    opened = button;
    const content = await file(place);
    if (opened !== button) return;
    if (!about.complete[place]) panel.append(line(badge("incomplete"), " no result"), environment(place), whole(place));
    else {
      const counts = {}, places = make("p", null, { class: "places" });
      for (const [key, one] of Object.entries(content.functions)) {
        const state = ((one.properties || {})[what] || {}).state;
        if (!state) continue;
        counts[state] = (counts[state] || 0) + 1;
        const row = byKey.get(key);
        if (row && !["passed", "not applicable"].includes(state))
          places.append(make("a", `${key}: ${state}`, { href: `#${row.tr.id}@${names[place]}` }), " ");
      }
      panel.append(list(Object.entries(counts).map(([state, count]) => `${count} ${state}`)));
      if (places.children.length) panel.append(make("h3", "Where it did not pass"), places);
      panel.append(environment(place), json(counts, place));
    }
  }
  // A number of the comparison or the benchmark: its places in the file, without the curves.
  async function openMeasured(link) {
    const where = $(link.hash.slice(1)), kept = $(where.dataset.file);
    begin(link.dataset.title);
    opened = link;
    const content = await unpackLink(kept);
    if (opened !== link) return;
    const short = (key, value) => (Array.isArray(value) && value.length > 50 ? `${value.length} numbers, in the file` : value);
    for (const place of JSON.parse(link.dataset.places)) {
      const value = place.reduce((at, key) => (at || {})[key], content);
      panel.append(folded(`JSON: ${place.join(", ")}`, make("pre", JSON.stringify(value, short, 1), { class: "wrap" }), true));
    }
    const about = where.querySelector("dl");
    if (about) panel.append(folded("Environment and command", about.cloneNode(true), true));
    const file = kept.closest("p").cloneNode(true);
    file.querySelector("a").removeAttribute("id");
    panel.append(file);
  }
  function openTotal(button) {
    const what = button.dataset.total, place = Number(button.dataset.impl), all = [...byId.values()];
    const ofState = about.states.includes(what);
    const rows = all.filter((row) => (ofState ? row.states[place] === what : row.kind === what));
    const go = make("button", "Show these rows", { type: "button" });
    go.addEventListener("click", () => {
      close();
      choose(ofState ? what : "", names[place], "");
      (ofState ? document.querySelector(".bar") : $(what)).scrollIntoView();
    });
    openCounts(ofState ? `All that is ${what}` : document.getElementById(what).textContent, rows, place, button, go);
  }

  // Links, clicks, keys.
  function goTo(hash) {
    const [id, name] = decodeURIComponent(hash.slice(1)).split("@");
    const row = byId.get(id);
    if (!row) return;
    if (row.tr.hidden) clear();
    const place = names.indexOf(name), column = place < 0 ? 0 : place;
    if (implBox.value && implBox.value !== names[column]) { implBox.value = ""; filter(true); }
    show(row.group, true);
    told();
    mark(row.tr);
    row.tr.scrollIntoView({ block: "center" });
    row.cells[column].focus({ preventScroll: true });
    if (place >= 0) openCell(row, place, row.cells[place]);
  }
  function mark(tr) {
    for (const other of document.querySelectorAll("tr.here")) other.classList.remove("here");
    if (tr) tr.classList.add("here");
  }
  document.addEventListener("click", (event) => {
    const target = event.target.closest("button, a");
    if (!target) return;
    if (target.matches("a.download")) {
      event.preventDefault();
      download(Number(target.dataset.impl));
    } else if (target.matches(".toggle")) {
      const group = groups.find((one) => one.toggle === target);
      show(group, !group.open);
      told();
    } else if (target.matches(".c")) {
      const place = target.parentElement.cellIndex - 1, tr = target.closest("tr"), row = byId.get(tr.id);
      mark(tr);
      if (row) openCell(row, place, target);
      else if (target.dataset.property) openProperty(target.dataset.property, place, target);
      else {
        const group = groups.find((one) => one.head.contains(target));
        openCounts(`${group.kind}: ${group.name}`, group.rows, place, target);
      }
    } else if (target.matches(".number")) openTotal(target);
    else if (target.matches('a[href^="#"]') && byId.has(decodeURIComponent(target.hash.slice(1)).split("@")[0])) {
      event.preventDefault();
      history.pushState(null, "", target.hash);
      close();
      goTo(target.hash);
    } else if (target.matches(".measured")) {
      event.preventDefault();
      openMeasured(target);
    } else if (target.matches('a[href^="#"]') && $(target.hash.slice(1))?.matches("details")) {
      $(target.hash.slice(1)).open = true;
      close();
    } else if (target.matches('a[href^="#text-"]')) {
      const text = $(target.hash.slice(1));
      if (text) text.closest("details").open = true;
      close();
    }
  });
  window.addEventListener("hashchange", () => goTo(location.hash));
  let waiting = 0;
  search.addEventListener("input", () => { clearTimeout(waiting); waiting = setTimeout(() => filter(false), 80); });
  stateBox.addEventListener("change", () => filter(false));
  implBox.addEventListener("change", () => filter(!stateBox.value));
  $("clear").addEventListener("click", clear);
  $("fold").addEventListener("click", () => {
    const open = !groups.some((group) => group.open && !group.head.hidden);
    for (const group of groups) show(group, open && !group.head.hidden);
    told();
  });

  function visible() {
    const out = [];
    for (const group of groups) {
      if (group.head.hidden) continue;
      out.push(group.head.rows[0]);
      if (group.open) for (const tr of group.body.rows) if (!tr.hidden) out.push(tr);
    }
    return out;
  }
  let column = 0;
  function move(down) {
    const rows = visible(), here = document.querySelector("tr.here");
    const at = rows.indexOf(here);
    const next = at < 0 ? rows[0] : rows[Math.min(rows.length - 1, Math.max(0, at + down))];
    if (next) focusRow(next);
  }
  function focusRow(tr) {
    const wasOpen = !panel.hidden;
    mark(tr);
    const chosen = names.indexOf(implBox.value);
    if (chosen >= 0) column = chosen;
    const row = byId.get(tr.id);
    // Of a chapter it is the fold that Enter moves, of a row the cell.
    const target = tr.querySelector(".toggle") || tr.querySelectorAll(".c")[column];
    target.focus({ preventScroll: true });
    tr.scrollIntoView({ block: "center" });
    if (wasOpen && row) openCell(row, column, target);
  }
  function across(right) {
    const tr = document.querySelector("tr.here");
    if (!tr || implBox.value) return;
    column = Math.min(names.length - 1, Math.max(0, column + right));
    focusRow(tr);
    const cell = tr.querySelectorAll(".c")[column];
    cell.focus();
    cell.scrollIntoView({ block: "nearest", inline: "nearest" });
  }
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === "Escape") {
      if (!panel.hidden) close();
      else { clear(); search.blur(); }
      return;
    }
    if (event.target === search && event.key === "Enter") { search.blur(); move(0); return; }
    if (event.target.matches("input, select")) return;
    const moves = { j: () => move(1), k: () => move(-1), h: () => across(-1), l: () => across(1),
      ArrowLeft: () => across(-1), ArrowRight: () => across(1), "/": () => { search.focus(); search.select(); } };
    const act = moves[event.key];
    if (!act || (panel.contains(event.target) && event.key.startsWith("Arrow"))) return;
    event.preventDefault();
    act();
  });

  // Light and dark. A browser may refuse to remember.
  const themes = ["system", "light", "dark"];
  function paint(theme) {
    if (theme === "system") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = theme;
    $("theme").textContent = `Theme: ${theme}`;
  }
  let theme = "system";
  try { theme = localStorage.getItem("spec-tests-theme") || theme; } catch { /* as the system has it */ }
  if (!themes.includes(theme)) theme = "system";
  paint(theme);
  $("theme").addEventListener("click", () => {
    theme = themes[(themes.indexOf(theme) + 1) % themes.length];
    paint(theme);
    try { localStorage.setItem("spec-tests-theme", theme); } catch { /* it lasts as long as the page */ }
  });

  // The heat map: another statistic in the same cells.
  const statistic = $("statistic");
  if (statistic) statistic.addEventListener("change", () => {
    const at = Number(statistic.value);
    for (const cell of document.querySelectorAll(".heat td[data-errors]")) {
      cell.textContent = Number(cell.dataset.errors.split(" ")[at]).toFixed(2);
      cell.className = `h${cell.dataset.levels.split(" ")[at]}`;
    }
  });

  const bar = document.querySelector(".bar");
  new ResizeObserver(() => document.documentElement.style.setProperty("--bar", `${bar.offsetHeight}px`)).observe(bar);
  filter(true);
  if (location.hash) goTo(location.hash);
})();
