// What Streamlit itself loads: it fetches the viewer's modules once from this server and hands every run on to them.

const programs = new Map();

function program(address) {
  if (!programs.has(address)) programs.set(address, import(new URL(address, window.location.origin).href));
  return programs.get(address);
}

export default function ({ data, parentElement, setStateValue, setTriggerValue }) {
  const host = parentElement.querySelector(".viewer-host");
  const tell = (name, value) => (name === "threshold" ? setStateValue : setTriggerValue)(name, value);
  host.latest = data.scene;
  program(data.program)
    .then(({ show }) => host.latest === data.scene && show(host, data.scene, tell))
    .catch(() => {
      programs.delete(data.program);
      host.textContent = "The viewer could not be loaded; load the page again, or use a current browser.";
    });
  return () => {
    host.latest = null;
    program(data.program).then(({ close }) => close(host), () => {});
  };
}
