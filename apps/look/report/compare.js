for (const box of document.querySelectorAll(".compare")) {
  let at = 50;
  const set = (value) => {
    at = Math.min(100, Math.max(0, value));
    box.style.setProperty("--at", at + "%");
    box.setAttribute("aria-valuenow", Math.round(at));
  };
  const follow = (event) => {
    const frame = box.getBoundingClientRect();
    set(100 * (event.clientX - frame.left) / frame.width);
  };
  box.addEventListener("pointerdown", (event) => { box.setPointerCapture(event.pointerId); follow(event); });
  box.addEventListener("pointermove", (event) => { if (event.pointerType === "mouse" || event.buttons) follow(event); });
  box.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: -5, ArrowRight: 5, Home: -100, End: 100 }[event.key];
    if (step) { set(at + step); event.preventDefault(); }
  });
}
