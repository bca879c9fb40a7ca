"use strict";
// The page's only script. It shows and hides existing elements, and fills the panel with text.
document.addEventListener("DOMContentLoaded", () => {
  const get = (id) => document.getElementById(id);
  const all = (selector, inside = document) => [...inside.querySelectorAll(selector)];
  const entries = JSON.parse(get("data").textContent);
  const [stage, sizer, sheet, panel, field] = ["stage", "sizer", "sheet", "panel", "search"].map(get);
  const embedded = window.parent !== window;
  const calm = matchMedia("(prefers-reduced-motion: reduce)");

  const byNumber = (elements) => {
    const found = entries.map(() => []);
    for (const element of elements) found[element.dataset.i].push(element);
    return found;
  };
  const boxes = byNumber(all(".press"));
  const toggles = byNumber(all(".toggle"));
  const seen = (elements) => elements.find((element) => element.getClientRects().length > 0);

  // ------------------------------------------------------------------------ open and close

  const folds = new Map(all(".fold").map((fold) => [Number(fold.dataset.group), fold]));
  const pieceOf = new Map();
  for (const element of all(".piece")) {
    const views = [...element.children].map((view) => ({
      element: view,
      open: new Set(view.dataset.open.split(" ").filter(Boolean).map(Number)),
    }));
    const piece = { views, now: views.find((view) => !view.element.hidden) };
    for (const group of views[views.length - 1].open) pieceOf.set(group, piece);
  }
  const show = (piece, view) => {
    piece.now.element.hidden = true;
    view.element.hidden = false;
    piece.now = view;
  };
  const isOpen = (group) =>
    folds.has(group)
      ? !folds.get(group).querySelector(":scope > .open").hidden
      : pieceOf.has(group) && pieceOf.get(group).now.open.has(group);

  // Views come smallest first. Opening uses the first that has all open groups; closing uses
  // the one that keeps most of the groups around, then most of the open ones.
  const turn = (group, wanted) => {
    if (isOpen(group) === wanted) return;
    if (folds.has(group)) {
      const fold = folds.get(group);
      fold.querySelector(":scope > .open").hidden = !wanted;
      fold.querySelector(":scope > .closed").hidden = wanted;
      return;
    }
    const piece = pieceOf.get(group);
    const now = piece.now.open;
    if (wanted) {
      const needed = [...now, group];
      show(piece, piece.views.find(({ open }) => needed.every((one) => open.has(one))));
      return;
    }
    const around = new Set(entries[group].around);
    const kept = ({ open }) => [...open].reduce((sum, one) => sum + (around.has(one) ? 1000 : 1), 0);
    const smaller = piece.views.filter(({ open }) => [...open].every((one) => now.has(one) && one !== group));
    show(piece, smaller.reduce((best, view) => (kept(view) > kept(best) ? view : best)));
  };
  // Toggles groups while one of their toggles, or its replacement, stays in place.
  const turnInPlace = (group, wanted) => {
    const before = seen(toggles[group]);
    const [x, y] = before ? corner(before) : [0, 0];
    turn(group, wanted);
    resize();
    const after = seen(toggles[group]);
    if (before && after) {
      const [nowX, nowY] = corner(after);
      stage.scrollLeft += nowX - x;
      stage.scrollTop += nowY - y;
    }
    mark();
    return after;
  };
  const corner = (element) => {
    const { left, top } = element.getBoundingClientRect();
    return [left, top];
  };
  const turnAll = (wanted) => {
    entries.forEach((entry, number) => entry.group && turn(number, wanted));
    resize();
    mark();
    home();
  };
  const reveal = (number) => {
    for (const group of entries[number].around) turn(group, true);
    resize();
    mark();
    const box = seen(boxes[number]);
    if (box) box.scrollIntoView({ block: "center", inline: "center", behavior: calm.matches ? "auto" : "smooth" });
    return box;
  };

  // ----------------------------------------------------------------------------------- zoom

  let zoom = 1;
  const resize = () => {
    sizer.style.width = `${sheet.offsetWidth * zoom}px`;
    sizer.style.height = `${sheet.offsetHeight * zoom}px`;
  };
  const middle = () => {
    const { left, top, width, height } = stage.getBoundingClientRect();
    return [left + width / 2, top + height / 2];
  };
  const zoomTo = (wanted, x, y) => {
    const before = sizer.getBoundingClientRect();
    const factor = Math.min(4, Math.max(0.02, wanted)) / zoom;
    zoom *= factor;
    sheet.style.transform = `scale(${zoom})`;
    resize();
    const after = sizer.getBoundingClientRect();
    stage.scrollLeft += after.left + (x - before.left) * factor - x;
    stage.scrollTop += after.top + (y - before.top) * factor - y;
    get("fit").textContent = `${Math.round(zoom * 100)} %`;
    get("fit").setAttribute("aria-label", `Fit the whole picture, now at ${Math.round(zoom * 100)} %`);
  };
  const room = (length, whole) => length / Math.max(whole, 1);
  const wide = () => room(stage.clientWidth, sheet.offsetWidth);
  const fit = () => zoomTo(Math.min(1.5, wide(), room(stage.clientHeight, sheet.offsetHeight)), ...middle());
  const home = () => {
    zoomTo(Math.min(1, Math.max(0.5, wide())), ...middle());
    stage.scrollLeft = (stage.scrollWidth - stage.clientWidth) / 2;
    stage.scrollTop = 0;
  };
  const step = (factor) => zoomTo(zoom * factor, ...middle());

  // In a notebook the wheel alone scrolls on; with Ctrl, as in a touchpad pinch, it zooms.
  stage.addEventListener("wheel", (event) => {
    if (event.shiftKey || (embedded && !event.ctrlKey)) return;
    event.preventDefault();
    const pixels = event.deltaY * (event.deltaMode === 1 ? 16 : 1);
    const speed = event.ctrlKey ? 0.01 : 0.0015;
    zoomTo(zoom * Math.exp(-speed * Math.max(-200, Math.min(200, pixels))), event.clientX, event.clientY);
  }, { passive: false });

  // ------------------------------------------------------------------- drag, and two fingers

  const fingers = new Map();
  let moved = false;
  const spread = () => {
    const [a, b] = [...fingers.values()];
    return { far: Math.hypot(a.x - b.x, a.y - b.y), x: (a.x + b.x) / 2, y: (a.y + b.y) / 2 };
  };
  stage.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    if (fingers.size === 0) moved = false;
    fingers.set(event.pointerId, { x: event.clientX, y: event.clientY });
  });
  addEventListener("pointermove", (event) => {
    const last = fingers.get(event.pointerId);
    if (!last) return;
    const next = { x: event.clientX, y: event.clientY };
    if (!moved && fingers.size === 1 && Math.hypot(next.x - last.x, next.y - last.y) < 5) return;
    if (!moved) stage.setPointerCapture(event.pointerId);
    moved = true;
    stage.classList.add("moving");
    const before = fingers.size === 2 ? spread() : null;
    fingers.set(event.pointerId, next);
    if (before) {
      const after = spread();
      zoomTo(zoom * after.far / Math.max(before.far, 1), after.x, after.y);
      stage.scrollBy(before.x - after.x, before.y - after.y);
    } else if (fingers.size === 1) {
      stage.scrollBy(last.x - next.x, last.y - next.y);
    }
  });
  for (const end of ["pointerup", "pointercancel"]) {
    addEventListener(end, (event) => {
      fingers.delete(event.pointerId);
      if (fingers.size === 0) stage.classList.remove("moving");
    });
  }
  // Not every browser sends the click at the end of a drag to the element with the pointer capture.
  stage.addEventListener("click", (event) => {
    if (moved && event.detail > 0) event.stopPropagation();
    moved = false;
  }, true);

  // ---------------------------------------------------------------------------------- panel

  let told = null;
  const make = (tag, text, name) => {
    const element = document.createElement(tag);
    if (text !== undefined) element.textContent = text;
    if (name) element.className = name;
    return element;
  };
  const button = (text, name, act) => {
    const element = make("button", text, name);
    element.addEventListener("click", act);
    return element;
  };
  const tell = (number) => {
    const entry = entries[number];
    told = number;
    get("panel-title").textContent = entry.title;
    const parts = [];
    if (entry.name !== entry.title) parts.push(make("p", entry.name, "faint"));
    for (const text of entry.lines || []) parts.push(make("p", text));
    for (const text of entry.small || []) parts.push(make("p", text, "faint"));
    for (const text of entry.badges || []) parts.push(make("span", text, "badge"));
    for (const text of entry.problems || []) parts.push(make("p", text, "problem"));
    if (entry.group) {
      parts.push(button(isOpen(number) ? "Close this group" : "Open this group", "fold-button", () => {
        turnInPlace(number, !isOpen(number));
        tell(number);
      }));
    }
    const list = make("dl");
    const codes = make("dl");
    for (const [label, text, code] of entry.facts) {
      const value = make("dd", code ? undefined : text);
      if (code) {
        const lines = make("pre", text);
        lines.tabIndex = 0; // so that keys scroll it
        lines.setAttribute("role", "region");
        lines.setAttribute("aria-label", label);
        value.append(lines);
      }
      (code ? codes : list).append(make("dt", label), value);
    }
    if (entry.also) list.append(make("dt", "also"), make("dd", entry.also.join(", ")));
    if (entry.from) list.append(make("dt", "reads"), ways(entry.from));
    if (entry.to) list.append(make("dt", "goes to"), ways(entry.to));
    if (entry.around.length) list.append(make("dt", "in"), ways(entry.around));
    list.className = "short";
    get("facts").replaceChildren(...parts, list, codes);
    panel.hidden = false;
    panel.scrollTop = 0;
    get("panel-title").focus({ preventScroll: true });
    mark();
    seen(boxes[number])?.scrollIntoView({ block: "nearest", inline: "nearest" });
  };
  const ways = (numbers) => {
    const value = make("dd", undefined, "ways");
    for (const number of new Set(numbers)) {
      value.append(button(entries[number].title, "", () => {
        tell(number);
        reveal(number);
      }));
    }
    return value;
  };
  const hush = () => {
    if (told === null) return;
    const back = seen(boxes[told]) || stage;
    told = null;
    panel.hidden = true;
    mark();
    back.focus({ preventScroll: true });
  };

  // --------------------------------------------------------------------------------- search

  const haystack = entries.map((entry) => {
    const facts = entry.facts.filter(([, , code]) => !code).map(([, text]) => text);
    const said = [entry.lines, entry.small, entry.badges, entry.problems, entry.also, facts].flatMap((texts) => texts || []);
    return [entry.title, entry.name, ...said].join("\n").toLowerCase();
  });
  let hits = [];
  let at = -1;
  const search = () => {
    const words = field.value.trim().toLowerCase();
    hits = words ? entries.map((_, number) => number).filter((number) => haystack[number].includes(words)) : [];
    at = -1;
    count();
  };
  const count = () => {
    const none = field.value.trim() ? "none" : "";
    const found = hits.length === 1 ? "1 hit" : `${hits.length} hits`;
    get("place").textContent = !hits.length ? none : at < 0 ? found : `${at + 1} of ${hits.length}`;
    get("hit").textContent = at < 0 ? "" : `: ${entries[hits[at]].title}`;
    mark();
  };
  const next = (by) => {
    if (!hits.length) return;
    at = at < 0 && by < 0 ? hits.length - 1 : (at + by + hits.length) % hits.length;
    reveal(hits[at]);
    count();
  };
  const mark = () => {
    for (const element of all(".press.found, .press.hit, .press.told")) element.classList.remove("found", "hit", "told");
    for (const number of hits) for (const box of boxes[number]) box.classList.add("found");
    for (const box of boxes[hits[at]] || []) box.classList.add("hit");
    for (const box of boxes[told] || []) box.classList.add("told");
  };
  field.addEventListener("input", search);
  field.addEventListener("keydown", (event) => {
    if (event.key === "Enter") next(event.shiftKey ? -1 : 1);
    if (event.key === "ArrowDown" && at >= 0) reveal(hits[at]).focus({ preventScroll: true });
  });

  // ------------------------------------------------------------------------------- save

  // The visible picture as one SVG in points: the drawings, and what the page itself draws.
  const SVG = "http://www.w3.org/2000/svg";
  const node = (tag, attributes, text) => {
    const element = document.createElementNS(SVG, tag);
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
    if (text !== undefined) element.textContent = text;
    return element;
  };
  const drawing = () => {
    const origin = sheet.getBoundingClientRect();
    const points = 0.75 / zoom;
    const place = (element) => {
      const { left, top, width, height } = element.getBoundingClientRect();
      return [(left - origin.left) * points, (top - origin.top) * points, width * points, height * points];
    };
    const style = (element) => getComputedStyle(element);
    const whole = node("svg", { xmlns: SVG, width: `${sheet.offsetWidth * 0.75}pt`, height: `${sheet.offsetHeight * 0.75}pt`, viewBox: `0 0 ${sheet.offsetWidth * 0.75} ${sheet.offsetHeight * 0.75}`, "font-family": "Helvetica, Arial, 'Liberation Sans', Arimo, sans-serif" });
    whole.append(node("title", {}, document.title));
    whole.append(node("rect", { width: "100%", height: "100%", fill: "var(--page)" }));
    const visible = (selector) => all(selector, sheet).filter((element) => element.getClientRects().length > 0);
    const line = (x, y, height, wide, colour) => whole.append(node("rect", { x: x - wide / 2, y, width: wide, height, fill: colour }));
    const words = (element, size, colour, weight) => {
      const range = document.createRange();
      for (const text of [...element.childNodes].filter((one) => one.nodeType === 3)) {
        const rows = [];
        for (let at = 0; at < text.length; at += 1) {
          range.setStart(text, at);
          range.setEnd(text, at + 1);
          const { left, bottom } = range.getBoundingClientRect();
          const last = rows[rows.length - 1];
          if (last && Math.abs(last.bottom - bottom) < 1) last.text += text.data[at];
          else rows.push({ left, bottom, text: text.data[at] });
        }
        for (const row of rows) {
          whole.append(node("text", { x: (row.left - origin.left) * points, y: (row.bottom - origin.top) * points - size * 0.28, "font-size": size, "font-weight": weight, fill: colour }, row.text.trimEnd()));
        }
      }
    };
    for (const open of visible(".open")) {
      const [x, y, width, height] = place(open);
      const inserted = open.classList.contains("inserted");
      whole.append(node("rect", { x, y, width, height, rx: 8, fill: "var(--inside)", stroke: inserted ? "var(--edge-inserted)" : "var(--group)", "stroke-width": inserted ? 1.4 : 0.8 }));
    }
    for (const head of visible(".open.entered > .head")) {
      const [x, y, width, height] = place(head);
      const road = head.parentElement.classList.contains("road");
      line(x + width / 2, y - 6, height + 6, road ? 2.25 : 0.75, road ? "var(--road)" : "var(--line)");
    }
    for (const arrow of visible(".arrow > i")) {
      const [x, y, width, height] = place(arrow);
      const colour = arrow.parentElement.classList.contains("road") ? "var(--road)" : "var(--line)";
      line(x + width / 2, y, height, width, colour);
      if (getComputedStyle(arrow, "::after").display !== "none") {
        const [half, high] = width > 1.5 ? [3.8, 6.7] : [2.8, 5.5];
        const middle = x + width / 2;
        const end = y + height + (width > 1.5 ? 5.7 : 4.5);
        whole.append(node("polygon", { points: `${middle - half},${end - high} ${middle + half},${end - high} ${middle},${end}`, fill: colour }));
      }
    }
    for (const one of visible("svg")) {
      const [x, y] = place(one);
      const copy = one.cloneNode(true);
      copy.setAttribute("x", x);
      copy.setAttribute("y", y);
      for (const side of ["width", "height"]) copy.setAttribute(side, parseFloat(copy.getAttribute(side)));
      whole.append(copy);
    }
    for (const text of visible(".head b")) words(text, 8.5, "var(--text)", "bold");
    for (const text of visible(".head small, .arrow span")) words(text, 7.5, "var(--faint)", "normal");
    const colours = style(document.documentElement);
    return new XMLSerializer().serializeToString(whole).replace(/var\((--[\w-]+)\)/g, (_, name) => colours.getPropertyValue(name).trim());
  };
  const save = (content, suffix) => {
    const place = URL.createObjectURL(content);
    const link = make("a");
    link.setAttribute("href", place);
    link.download = `${document.title.replace(/[^\p{L}\p{N}._-]+/gu, "-").slice(0, 60) || "picture"}.${suffix}`;
    link.click();
    setTimeout(() => URL.revokeObjectURL(place), 10000);
  };
  const asSvg = () => new Blob([drawing()], { type: "image/svg+xml" });
  const saveSvg = () => save(asSvg(), "svg");
  const savePng = () => {
    const place = URL.createObjectURL(asSvg());
    const image = new Image();
    image.addEventListener("load", () => {
      // A browser refuses a canvas of more than about 16,000 pixels on a side.
      const scale = Math.min(2, 16000 / image.naturalWidth, 16000 / image.naturalHeight);
      const canvas = make("canvas");
      canvas.width = Math.ceil(image.naturalWidth * scale);
      canvas.height = Math.ceil(image.naturalHeight * scale);
      canvas.getContext("2d").drawImage(image, 0, 0, canvas.width, canvas.height);
      URL.revokeObjectURL(place);
      canvas.toBlob((content) => save(content, "png"), "image/png");
    });
    image.setAttribute("src", place);
  };

  // --------------------------------------------------------------------- buttons and keys

  stage.addEventListener("click", (event) => {
    const number = Number(event.target.dataset.i);
    if (event.target.matches(".press")) tell(number);
    if (event.target.matches(".toggle")) {
      const after = turnInPlace(number, !isOpen(number));
      if (after) after.focus({ preventScroll: true });
    }
  });
  stage.addEventListener("dblclick", (event) => {
    const number = Number(event.target.dataset.i);
    if (event.target.matches(".press") && entries[number].group) turnInPlace(number, !isOpen(number));
  });
  const dark = () => {
    const theme = document.documentElement.dataset.theme;
    return theme === "dark" || (theme === "system" && matchMedia("(prefers-color-scheme: dark)").matches);
  };
  const colour = (theme) => {
    document.documentElement.dataset.theme = theme;
    get("theme").setAttribute("aria-pressed", dark());
  };
  const pressed = {
    "close": hush,
    "larger": () => step(1.25),
    "smaller": () => step(0.8),
    "fit": fit,
    "open-all": () => turnAll(true),
    "close-all": () => turnAll(false),
    "save-svg": saveSvg,
    "save-png": savePng,
    "theme": () => colour(dark() ? "light" : "dark"),
  };
  for (const [id, act] of Object.entries(pressed)) get(id).addEventListener("click", act);
  const arrows = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
  addEventListener("keydown", (event) => {
    if (event.key === "Escape") {
      if (told !== null) hush();
      else if (event.target === field) { field.value = ""; search(); }
      return;
    }
    if (event.target === field || event.ctrlKey || event.metaKey || event.altKey) return;
    if (panel.contains(event.target) && event.key !== "/") return;
    if (arrows[event.key]) stage.scrollBy(...arrows[event.key].map((way) => way * 60));
    else if (event.key === "+" || event.key === "=") step(1.25);
    else if (event.key === "-") step(0.8);
    else if (event.key === "0") fit();
    else if (event.key === "/") { field.focus(); field.select(); }
    else return;
    event.preventDefault();
  });

  entries.forEach(({ title, lines, small, badges, problems }, number) => {
    const label = [title, lines, badges, problems, small].flat().filter(Boolean).join(", ");
    for (const box of boxes[number]) box.setAttribute("aria-label", label);
    for (const toggle of toggles[number]) toggle.setAttribute("aria-label", `Parts of ${title}`);
  });
  for (const fold of all(".fold")) {
    fold.setAttribute("role", "group");
    fold.setAttribute("aria-label", entries[fold.dataset.group].title);
  }
  for (const drawing of all("svg", sheet)) drawing.setAttribute("aria-hidden", "true");
  colour(document.documentElement.dataset.theme);
  new ResizeObserver(resize).observe(sheet);
  home();
});
