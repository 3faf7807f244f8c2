// A head that can be driven: sliders for the channels of its code, and a track of codes and head poses that plays.

class Player extends Viewer {
  painterOf(canvas, scene) {
    return new Painter(canvas, scene, changedSplat(scene.basis.rank));
  }

  async start(base64) {
    const element = this.byId("basis");
    const text = element.textContent;
    element.remove();
    const { count, basis } = this.scene;
    this.words = await decodeRows(text, count, 4 * basis.rank, (share) =>
      this.say(`unpacking the expressions ${Math.round(100 * share)} %`),
    );
    await super.start(base64);
  }

  loaded(rows) {
    super.loaded(rows);
    const { count, words, basis, channels } = this.scene;
    this.basis = new Basis(basis, this.words, positionsOf(rows, count, words));
    this.painter.texture(1, "basis", this.words, basis.rank);
    this.makeSliders(channels);
    this.setCode(channels.map(({ neutral }) => neutral));
  }

  // What the head shows, and how it is turned and moved (a 4x4 matrix row by row, in its own frame at rest).
  setCode(code, pose = null) {
    this.code = [...code];
    this.pose = pose;
    this.basis.take(code);
    const { gl } = this.painter;
    gl.uniform4fv(this.painter.uniform("weights"), this.basis.weights);
    this.sorter.move(this.basis.positions());
    this.showSliders();
    this.change();
  }

  // The camera in the frame of the head.
  seen() {
    const { camera, pose } = this;
    if (!pose) return camera;
    const column = (k) => [pose[k], pose[4 + k], pose[8 + k]];
    const inHead = (v) => [0, 1, 2].map((k) => dot(column(k), v));
    const eye = inHead(along(camera.eye, -1, column(3)));
    return { axes: camera.axes.map(inHead), eye, intrinsics: (...size) => camera.intrinsics(...size) };
  }

  makeSliders(channels) {
    const list = this.byId("channels");
    this.sliders = channels.map(({ name, lo, hi }, index) => {
      const [label, input, value] = ["label", "input", "output"].map((kind) => document.createElement(kind));
      Object.assign(input, { type: "range", min: lo, max: hi, step: (hi - lo) / 200 || 1, id: `channel${index}` });
      input.disabled = hi <= lo;
      input.oninput = () => {
        this.play(false);
        const code = [...this.code];
        code[index] = Number(input.value);
        this.setCode(code, this.pose);
      };
      const text = document.createElement("span");
      text.textContent = name;
      label.append(text, input, value);
      list.append(label);
      return { input, value };
    });
    // arrows move a slider, not the camera
    this.byId("drive").addEventListener("keydown", (event) => event.stopPropagation());
    this.byId("fold").onclick = () => this.byId("drive").classList.toggle("folded");
    this.byId("neutral").onclick = () => {
      this.play(false);
      this.setCode(channels.map(({ neutral }) => neutral));
    };
    const { track } = this.scene;
    this.byId("playback").hidden = !track;
    if (!track) return;
    const time = this.byId("time");
    Object.assign(time, { min: 0, max: track.codes.length - 1, step: 1, value: 0 });
    time.oninput = () => {
      this.play(false);
      this.showFrame(Number(time.value));
    };
    this.byId("play").onclick = () => this.play(!this.playing);
  }

  showSliders() {
    this.sliders.forEach(({ input, value }, i) => {
      input.value = this.code[i];
      value.textContent = this.code[i].toFixed(2);
    });
  }

  // A place of the track, counted in frames; codes between two of them are mixed, poses are those of the nearer one.
  showFrame(at) {
    const { codes, poses } = this.scene.track;
    const low = Math.min(Math.floor(at), codes.length - 1);
    const high = Math.min(low + 1, codes.length - 1);
    const share = at - low;
    this.frameShown = at;
    this.byId("time").value = at;
    this.setCode(
      codes[low].map((value, i) => value + share * (codes[high][i] - value)),
      poses ? poses[share < 0.5 ? low : high] : null,
    );
  }

  play(on) {
    this.playing = on && Boolean(this.scene.track);
    this.byId("play").textContent = this.playing ? "pause" : "play";
    if (!this.playing) return;
    const { codes, fps } = this.scene.track;
    let last = null;
    const step = (now) => {
      if (!this.playing) return;
      const passed = last === null ? 0 : (now - last) / 1000;
      if (!this.stale || last === null) {
        last = now;
        this.showFrame(((this.frameShown ?? 0) + passed * fps) % codes.length);
      }
      requestAnimationFrame(step);
    };
    requestAnimationFrame(step);
  }
}
