// The page in a frame that can run its own script only; it tells the positions of selected runs.

function render({ model, el }) {
  const frame = document.createElement("iframe");
  frame.setAttribute("sandbox", "allow-scripts allow-downloads");
  frame.setAttribute("allow", "clipboard-write");
  frame.style.cssText = "width:100%;height:48rem;border:0";
  frame.title = "gdjax explore";
  frame.srcdoc = model.get("html");
  const receive = (event) => {
    if (event.source !== frame.contentWindow || event.data?.gdjax !== "selection") return;
    const runs = event.data.runs;
    if (!Array.isArray(runs) || !runs.every(Number.isInteger)) return;
    model.set("selected", runs);
    model.save_changes();
  };
  window.addEventListener("message", receive);
  el.append(frame);
  return () => window.removeEventListener("message", receive);
}

export default { render };
