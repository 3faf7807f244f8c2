// Mouse, touch and keys.

const TURN = 0.006; // radians a CSS pixel
const STEP = 0.04; // of the distance, a key press

function listenToPointers(canvas, camera, changed) {
  const down = new Map(); // pointers by their id: where they were last
  const perPixel = () => {
    // world units a CSS pixel at the point that the camera turns about
    const [fx] = camera.intrinsics(canvas.clientWidth, canvas.clientHeight);
    return camera.distance / fx;
  };
  const pan = (dx, dy) => camera.move(-dx * perPixel(), -dy * perPixel(), 0);
  const middleAndSpread = () => {
    const [a, b] = down.values();
    return [(a.x + b.x) / 2, (a.y + b.y) / 2, Math.hypot(a.x - b.x, a.y - b.y)];
  };

  canvas.addEventListener("pointerdown", (event) => {
    canvas.setPointerCapture(event.pointerId);
    down.set(event.pointerId, { x: event.clientX, y: event.clientY });
  });
  for (const end of ["pointerup", "pointercancel"]) {
    canvas.addEventListener(end, (event) => down.delete(event.pointerId));
  }
  canvas.addEventListener("pointermove", (event) => {
    const last = down.get(event.pointerId);
    if (!last) return;
    const before = down.size === 2 && middleAndSpread();
    const [dx, dy] = [event.clientX - last.x, event.clientY - last.y];
    down.set(event.pointerId, { x: event.clientX, y: event.clientY });
    if (before) {
      const after = middleAndSpread();
      pan(after[0] - before[0], after[1] - before[1]);
      camera.zoom(Math.max(before[2], 1) / Math.max(after[2], 1));
    } else if (down.size === 1 && (event.shiftKey || event.buttons & 6)) {
      pan(dx, dy);
    } else if (down.size === 1) {
      camera.orbit(dx * TURN, dy * TURN);
    }
    changed();
  });
  canvas.addEventListener("contextmenu", (event) => event.preventDefault());
  canvas.addEventListener(
    "wheel",
    (event) => {
      event.preventDefault();
      const pixels = event.deltaY * (event.deltaMode === 1 ? 30 : event.deltaMode === 2 ? 300 : 1);
      camera.zoom(Math.exp(clamp(pixels * 0.0015, -1, 1)));
      changed();
    },
    { passive: false },
  );
}

// `actions` are functions by the name of the key.
function listenToKeys(camera, actions, changed) {
  const walk = (right, down, forward) => () => {
    const step = STEP * camera.distance;
    camera.move(right * step, down * step, forward * step);
    changed();
  };
  const turn = (right, down) => () => {
    camera.orbit(right * 0.05, down * 0.05);
    changed();
  };
  const keys = {
    ...actions,
    w: walk(0, 0, 1),
    s: walk(0, 0, -1),
    a: walk(-1, 0, 0),
    d: walk(1, 0, 0),
    q: walk(0, 1, 0),
    e: walk(0, -1, 0),
    ArrowLeft: turn(-1, 0),
    ArrowRight: turn(1, 0),
    ArrowUp: turn(0, -1),
    ArrowDown: turn(0, 1),
  };
  addEventListener("keydown", (event) => {
    const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
    if (event.ctrlKey || event.metaKey || event.altKey || !Object.hasOwn(keys, key)) return;
    event.preventDefault();
    keys[key]();
  });
}
