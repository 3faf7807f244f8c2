// Puts the parts together, and draws when something has changed.

const BACKGROUNDS = [["#111", 17 / 255], ["#000", 0], ["#fff", 1]];
const QUICK = 20; // milliseconds: a sort that is waited for
const SHARPEST = 2; // device pixels a CSS pixel; phones with more would draw slowly

class Viewer {
  constructor(scene) {
    this.scene = scene;
    this.byId = (id) => document.getElementById(id);
    this.canvas = this.byId("canvas");
    this.camera = new Camera(scene.up, scene.near * 2);
    this.painter = this.painterOf(this.canvas, scene);
    this.canvas.addEventListener("webglcontextlost", () => this.say("the graphics were reset: reload the page", true));
    this.background = 0;
    this.stale = true; // what is on the screen is not what should be
    this.jump = null; // a direction so far from the one before that the last order is no use, not even for a moment
    this.fresh = false; // an order has come that is not drawn yet
    this.waiting = []; // for a frame that is as it should be
    this.show(0);
    this.byId("title").textContent = scene.title;
    this.byId("count").textContent = `${scene.count.toLocaleString("en")} splats`;
  }

  painterOf(canvas, scene) {
    return new Painter(canvas, scene);
  }

  // The camera from which splats are drawn; that of the person who looks, unless the splats turn as a whole.
  seen() {
    return this.camera;
  }

  say(text, isError = false) {
    this.byId("status").textContent = text;
    this.byId("status").classList.toggle("error", isError);
  }

  async start(base64) {
    const { count, words } = this.scene;
    const rows = await decodeRows(base64, count, words, (share) => this.say(`unpacking ${Math.round(100 * share)} %`));
    this.loaded(rows);
    this.listen();
    this.change();
    await this.settled();
    this.say("");
  }

  loaded(rows) {
    const { count, words } = this.scene;
    this.painter.load(rows);
    this.sorter = new Sorter(positionsOf(rows, count, words), (order) => {
      if (order) this.painter.take(order);
      this.fresh = order !== null;
      this.change();
    });
  }

  listen() {
    const steps = { n: () => this.show(this.shown + 1), p: () => this.show(this.shown - 1) };
    const actions = {
      ...(this.scene.cameras.length > 1 && steps),
      r: () => this.show(0),
      Home: () => this.show(0),
      b: () => this.setBackground(this.background + 1),
      h: () => this.showPanel(this.byId("panel").hidden),
    };
    const change = () => this.change();
    listenToPointers(this.canvas, this.camera, change);
    listenToKeys(this.camera, actions, change);
    const buttons = { next: "n", previous: "p", reset: "r", background: "b", hide: "h", show: "h" };
    for (const [id, key] of Object.entries(buttons)) this.byId(id).onclick = actions[key];
    new ResizeObserver(change).observe(this.canvas);
    addEventListener("resize", change); // the ratio of pixels may change alone
  }

  show(index) {
    const { cameras } = this.scene;
    this.shown = (index + cameras.length) % cameras.length;
    const { name } = cameras[this.shown];
    this.byId("photo").textContent = name && `${name} (${this.shown + 1} of ${cameras.length})`;
    for (const id of ["next", "previous"]) this.byId(id).hidden = cameras.length < 2;
    this.camera.show(cameras[this.shown]);
    this.jump = [...this.seen().axes[2]];
    this.change();
  }

  setBackground(index) {
    this.background = index % BACKGROUNDS.length;
    document.body.style.background = BACKGROUNDS[this.background][0];
    this.change();
  }

  showPanel(visible) {
    this.byId("panel").hidden = !visible;
    this.byId("show").hidden = visible;
  }

  change() {
    if (!this.frame && this.sorter) this.frame = requestAnimationFrame(() => this.drawFrame());
    this.stale = true;
  }

  // While a worker sorts for long, moving pictures have its last order; one at rest always has its own.
  drawFrame() {
    this.frame = 0;
    this.resize();
    const camera = this.seen();
    const direction = [...camera.axes[2]];
    this.sorter.want(direction);
    const sorted = this.sorter.isSorted(direction);
    if (sorted || (this.jump && this.sorter.isSorted(this.jump))) this.jump = null;
    if (!this.jump && (sorted || this.fresh || this.sorter.milliseconds > QUICK)) {
      this.fresh = false;
      const level = BACKGROUNDS[this.background][1];
      this.painter.draw(camera, [level, level, level]);
    }
    if (!sorted) return; // the order's arrival asks for the next frame
    if (this.frame) cancelAnimationFrame(this.frame); // asked for by a sort in this very frame
    this.frame = 0;
    this.stale = false;
    this.waiting.splice(0).forEach((resolve) => resolve());
  }

  resize() {
    const ratio = Math.min(devicePixelRatio, SHARPEST);
    const width = Math.max(Math.round(this.canvas.clientWidth * ratio), 1);
    const height = Math.max(Math.round(this.canvas.clientHeight * ratio), 1);
    if (this.canvas.width !== width) this.canvas.width = width;
    if (this.canvas.height !== height) this.canvas.height = height;
  }

  // Resolves when the screen shows the camera as it is now, in the right order.
  settled() {
    return this.stale ? new Promise((resolve) => this.waiting.push(resolve)) : Promise.resolve();
  }
}

// For scripts: `await viewer` in a page gives the Viewer once the first frame is drawn.
async function openPage(kind) {
  const element = (id) => document.getElementById(id);
  try {
    const viewer = new kind(JSON.parse(element("scene").textContent));
    const base64 = element("splats").textContent;
    element("splats").remove();
    await viewer.start(base64);
    return viewer;
  } catch (error) {
    element("status").textContent = `These splats cannot be shown: ${error.message}`;
    element("status").classList.add("error");
    throw error;
  }
}
