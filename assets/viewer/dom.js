// Small pieces of the page: elements, icons, buttons.

/**
 * Make an element.
 * @param {string} tag with classes: "div.bar.wide"
 * @param {Record<string, unknown>} [attributes] on...: listeners; text: its text; others: attributes, false leaves out
 * @param {(Node|string|null)[]} [children]
 */
export function el(tag, attributes = {}, children = []) {
  const [name, ...classes] = tag.split(".");
  const node = document.createElement(name);
  if (classes.length) node.className = classes.join(" ");
  for (const [key, value] of Object.entries(attributes)) {
    if (key === "text") node.textContent = value;
    else if (key.startsWith("on")) node.addEventListener(key.slice(2), value);
    else if (value !== false && value !== null && value !== undefined) node.setAttribute(key, value === true ? "" : value);
  }
  node.append(...children.filter((child) => child !== null));
  return node;
}

// Paths on a grid of 24, drawn with a line of 1.8.
const ICONS = {
  scroll: "M8 4v16M8 4L5 7M8 4l3 3M8 20l-3-3M8 20l3-3M15 6h5M15 12h5M15 18h5",
  window: "M12 3a9 9 0 1 0 0 18zM12 3a9 9 0 0 1 0 18",
  pan: "M12 3v18M3 12h18M12 3L9.5 5.5M12 3l2.5 2.5M12 21l-2.5-2.5M12 21l2.5-2.5M3 12l2.5-2.5M3 12l2.5 2.5M21 12l-2.5-2.5M21 12l-2.5 2.5",
  zoom: "M10.5 4a6.5 6.5 0 1 0 0 13 6.5 6.5 0 0 0 0-13zM15.5 15.5L21 21M10.5 7.5v6M7.5 10.5h6",
  fit: "M4 9V4h5M20 9V4h-5M4 15v5h5M20 15v5h-5",
  one: "M6 7l2-1.5V18M16 7l2-1.5V18M12 9v.5M12 14v.5",
  rotate: "M19 8a8 8 0 1 0 1 5M19 3v5h-5",
  flip: "M12 3v18M9 7l-5 10h5zM15 7l5 10h-5z",
  flipv: "M3 12h18M7 9L17 4v5zM7 15l10 5v-5z",
  invert: "M4 4h16v16H4zM4 20L20 4v16z",
  smooth: "M3 16c4 0 5-9 9-9s5 9 9 9",
  cine: "M7 4l13 8-13 8z",
  pause: "M7 4v16M17 4v16",
  slab: "M4 8l8-4 8 4-8 4zM4 12l8 4 8-4M4 16l8 4 8-4",
  layout: "M4 4h16v16H4zM4 12h16M12 4v16",
  cross: "M12 3v7M12 14v7M3 12h7M14 12h7",
  eye: "M2 12c3-5 6-7 10-7s7 2 10 7c-3 5-6 7-10 7s-7-2-10-7zM12 9a3 3 0 1 0 0 6 3 3 0 0 0 0-6z",
  hidden: "M4 4l16 16M9 6c1-.6 2-1 3-1 4 0 7 2 10 7-1 1.700-2 3-3.200 4M6 8c-1.500 1-2.700 2.300-4 4 3 5 6 7 10 7 1.400 0 2.700-.300 4-.800",
  lock: "M6 11h12v9H6zM8.500 11V8a3.500 3.500 0 0 1 7 0v3",
  open: "M6 11h12v9H6zM8.500 11V8a3.500 3.500 0 0 1 6.800-1.200",
  brush: "M20 4l-9 10M11 14c-2-1-5 0-5 3 0 1.500-1 2-2 2 2 1.500 8 1 8-3 0-1-.400-1.600-1-2z",
  eraser: "M8 19L3.500 14.500 13 5l6.500 6.500L12 19zM8 19h12M8.500 9.500L15 16",
  threshold: "M4 20h16M6 20v-5M10 20v-9M14 20v-13M18 20v-7M3 9h18",
  polygon: "M12 4l8 6-3 9H7l-3-9z",
  freehand: "M4 14c2-8 8-10 12-8s4 8 0 10-6-2-9 0-3 4-1 4",
  fill: "M5 11l7-7 7 7-7 7zM12 4l-3-2M20 15c1.500 2 2 3 2 4a2 2 0 0 1-4 0c0-1 .500-2 2-4z",
  box: "M4 6h16v12H4z",
  turned: "M10 3l11 8-7 10L3 13z",
  point: "M12 9a3 3 0 1 0 0 6 3 3 0 0 0 0-6zM12 3v4M12 17v4M3 12h4M17 12h4",
  region: "M5 9c0-4 5-6 9-5s6 5 4 8-2 3-3 6-6 3-8 0-2-5-2-9zM12 10v4M10 12h4",
  click: "M9 10l9 4-4 1.500-1.500 4zM9 3v3M3 9h3M4.500 4.500L7 7",
  scribble: "M3 15c3-9 5-9 6-3s3 3 5-3 4-3 3 3M17 12l4 4-4 4",
  select: "M5 3l6 17 2.500-7L20 10.500z",
  length: "M4 17L17 4l3 3L7 20zM8 13l2 2M11 10l2 2M14 7l2 2",
  angle: "M5 19L16 5M5 19h15M10 19a6 6 0 0 0-1.800-4.200",
  bidirectional: "M4 20L20 4M8 8l8 8",
  ellipse: "M12 6c5 0 9 2.700 9 6s-4 6-9 6-9-2.700-9-6 4-6 9-6z",
  rectangle: "M4 7h16v10H4zM4 7l16 10",
  undo: "M9 6L4 11l5 5M4 11h10a6 6 0 0 1 0 12h-2",
  redo: "M15 6l5 5-5 5M20 11H10a6 6 0 0 0 0 12h2",
  trash: "M5 7h14M9 7V4h6v3M7 7l1 13h8l1-13",
  keys: "M3 7h18v11H3zM6 10.500h1M10 10.500h1M14 10.500h1M17.500 10.500h.500M7 14.500h10",
  full: "M4 9V4h5M15 4h5v5M20 15v5h-5M9 20H4v-5",
  link: "M9 15l6-6M8 12l-2 2a3.500 3.500 0 0 0 5 5l2-2M16 12l2-2a3.500 3.500 0 0 0-5-5l-2 2",
  panel: "M4 4h16v16H4zM14 4v16",
  save: "M12 4v11M12 15l-4-4M12 15l4-4M5 20h14",
  swipe: "M12 3v18M8 9l-3 3 3 3M16 9l3 3-3 3",
  close: "M6 6l12 12M18 6L6 18",
  reset: "M5 5v5h5M5 10a8 8 0 1 1-1 4",
};

const SVG = "http://www.w3.org/2000/svg";

/** An icon by name. */
export function icon(name) {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", "0 0 24 24");
  svg.setAttribute("aria-hidden", "true");
  const path = document.createElementNS(SVG, "path");
  path.setAttribute("d", ICONS[name]);
  svg.append(path);
  return svg;
}

/**
 * A button with an icon; its name is read by screen readers and shown as a tip.
 * @param {string} picture
 * @param {string} name
 * @param {string} keys shown in the tip
 * @param {() => void} act
 */
export function iconButton(picture, name, keys, act) {
  return el("button.icon", {
    type: "button", "aria-label": name, title: keys ? `${name} (${keys})` : name, onclick: act,
  }, [icon(picture)]);
}

/** A slider with its name and value. */
export function slider(name, { min, max, step = 1, value, show = String, input, change = () => {} }) {
  const output = el("output", { text: show(value) });
  const range = el("input", {
    type: "range", min, max, step, value, "aria-label": name,
    oninput: () => {
      output.textContent = show(Number(range.value));
      input(Number(range.value));
    },
    onchange: () => change(Number(range.value)),
  });
  const row = el("label.slider", {}, [el("span", { text: name }), output, range]);
  row.set = (next, limits = null) => {
    if (limits) Object.assign(range, { min: limits[0], max: limits[1] });
    range.value = next;
    output.textContent = show(Number(next));
  };
  return row;
}

/** A switch with a name. */
export function toggle(name, checked, act, tip = "") {
  const box = el("input", { type: "checkbox", onchange: () => act(box.checked) });
  box.checked = checked;
  const row = el("label.toggle", { title: tip || false }, [box, el("span", { text: name })]);
  row.set = (value) => (box.checked = value);
  return row;
}

/** A choice of a few. @param {{value: string, title: string}[]} options */
export function choice(name, options, value, act) {
  const list = el("select", { "aria-label": name, onchange: () => act(list.value) },
    options.map((option) => el("option", { value: option.value, text: option.title })));
  list.value = value;
  const row = el("label.choice", {}, [el("span", { text: name }), list]);
  row.set = (next) => (list.value = next);
  row.fill = (items, next) => {
    list.replaceChildren(...items.map((option) => el("option", { value: option.value, text: option.title })));
    list.value = next;
  };
  return row;
}
