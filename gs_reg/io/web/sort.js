// The order in which splats are drawn: the farthest first, exactly, as gs_reg.render has it.

// Also the text of the worker, so it uses nothing from outside of itself.
function makeSort(positions) {
  const count = positions.length / 3;
  const keys = new Uint32Array(count);
  const depths = new Float32Array(keys.buffer);
  const byLow = new Uint32Array(count);
  const low = new Uint32Array(65536);
  const high = new Uint32Array(65536);

  function startsOf(counts) {
    let sum = 0;
    for (let i = 0; i < counts.length; i++) {
      const here = counts[i];
      counts[i] = sum;
      sum += here;
    }
  }

  // A radix sort of the depths' bits along `direction`, of equal ones the last first.
  return function sort([x, y, z]) {
    low.fill(0);
    high.fill(0);
    for (let i = 0; i < count; i++) {
      depths[i] = x * positions[3 * i] + y * positions[3 * i + 1] + z * positions[3 * i + 2];
      const bits = keys[i];
      const key = bits >>> 31 ? ~bits : bits | 0x80000000; // floats in the order of unsigned integers
      keys[i] = key;
      low[key & 65535]++;
      high[key >>> 16]++;
    }
    startsOf(low);
    startsOf(high);
    for (let i = 0; i < count; i++) byLow[low[keys[i] & 65535]++] = i;
    const order = new Uint32Array(count);
    for (let k = 0; k < count; k++) {
      const i = byLow[k];
      order[count - 1 - high[keys[i] >>> 16]++] = i;
    }
    return order;
  };
}

function workerText() {
  return `"use strict";
    const sort = { now: null };
    ${makeSort}
    onmessage = ({ data }) => {
      if (data.positions) sort.now = makeSort(data.positions);
      const start = performance.now();
      const { direction, version } = data;
      const order = direction && sort.now(direction);
      const milliseconds = performance.now() - start;
      postMessage({ order, direction, version, milliseconds }, order ? [order.buffer] : []);
    };`;
}

// Sorts in a worker where the browser allows one, else right here. `arrived` is told of every new order.
class Sorter {
  constructor(positions, arrived) {
    this.arrived = arrived;
    this.direction = null; // of the newest order
    this.asked = null; // by the worker that is busy with it
    this.where = "page";
    this.milliseconds = 0; // that the worker took
    this.positions = positions;
    this.version = 0; // of the positions
    this.sorted = 0; // the version of the newest order
    this.sent = 0; // the version that the worker has
    this.sortHere = null;
    this.startWorker();
  }

  startWorker() {
    let worker;
    try {
      worker = new Worker(URL.createObjectURL(new Blob([workerText()], { type: "text/javascript" })));
    } catch {
      return; // refused at once, as for pages from a file in some browsers
    }
    worker.onmessage = ({ data }) => {
      this.worker = worker;
      this.where = "worker";
      this.milliseconds = data.milliseconds;
      if (data.order) this.took(data.order, data.direction, data.version);
    };
    worker.onerror = (event) => {
      event.preventDefault(); // refused later, or broken: the page goes on by itself
      this.worker = null;
      this.where = "page";
      this.took(null, null, 0);
    };
    worker.postMessage({ positions: this.positions });
  }

  took(order, direction, version) {
    this.asked = null;
    if (order) [this.direction, this.sorted] = [direction, version];
    this.arrived(order);
  }

  // The splats are elsewhere now: orders from before do no longer count.
  move(positions) {
    this.positions = positions;
    this.version++;
    this.sortHere = null;
  }

  isSorted(direction) {
    if (this.direction === null || this.sorted !== this.version) return false;
    return direction.every((value, axis) => value === this.direction[axis]);
  }

  // Sees to it that an order for `direction` comes; with a worker later, and only one at a time.
  want(direction) {
    if (this.asked || this.isSorted(direction)) return;
    if (this.worker) {
      this.asked = direction;
      const positions = this.sent === this.version ? undefined : this.positions;
      this.worker.postMessage({ direction, version: this.version, positions });
      this.sent = this.version;
      return;
    }
    this.sortHere ??= makeSort(this.positions);
    this.took(this.sortHere(direction), direction, this.version);
  }
}
