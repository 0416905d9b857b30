// Two pictures over each other; a bar that is dragged, or moved by the arrow keys, shows more of one or the other.
// The bar is a plain range input, so that keyboards and screen readers have it for free.

export default function swipe({ data, parentElement }) {
  const root = parentElement.querySelector(".swipe");
  const part = (name) => root.querySelector(`.${name}`);
  show(part("before"), data.before, data.before_name);
  show(part("after"), data.after, data.after_name);
  part("before-name").textContent = data.before_name;
  part("after-name").textContent = data.after_name;
  part("mark").textContent = data.mark;
  root.style.aspectRatio = `${data.width} / ${data.height}`;
  root.style.maxWidth = `${data.most}px`;
  const bar = part("bar");
  bar.setAttribute("aria-label", `Border between ${data.before_name} and ${data.after_name}`);
  const move = () => root.style.setProperty("--at", `${bar.value}%`);
  bar.addEventListener("input", move);
  move();
  return () => bar.removeEventListener("input", move);
}

function show(image, source, name) {
  if (image.getAttribute("src") !== source) image.src = source;
  image.alt = name;
}
