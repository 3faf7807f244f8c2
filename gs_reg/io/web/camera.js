// A pinhole camera that can be moved. Axes are OpenCV's: x right, y down, z forward.

const dot = (a, b) => a[0] * b[0] + a[1] * b[1] + a[2] * b[2];
const cross = (a, b) => [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]];
const along = (a, t, b) => a.map((value, axis) => value + t * b[axis]);
const unit = (a) => a.map((value) => value / Math.hypot(...a));
const clamp = (x, low, high) => Math.min(Math.max(x, low), high);

// v turned about a unit axis (Rodrigues' formula).
function turned(v, axis, angle) {
  const [c, s] = [Math.cos(angle), Math.sin(angle)];
  const flat = v.map((value) => value * c);
  return along(along(flat, s, cross(axis, v)), (1 - c) * dot(axis, v), axis);
}

const HIGHEST = Math.PI / 2 - 0.02; // radians: turning stops before the camera looks straight up or down

class Camera {
  constructor(up, nearest) {
    this.up = up; // unit vector
    this.nearest = nearest; // least distance to what it turns about
  }

  // Takes pose and lens of a camera as the page holds it.
  show({ viewmat, K, size, distance }) {
    this.axes = [viewmat.slice(0, 3), viewmat.slice(4, 7), viewmat.slice(8, 11)]; // right, down, forward
    const t = [viewmat[3], viewmat[7], viewmat[11]];
    this.eye = [0, 1, 2].map((axis) => -this.axes.reduce((sum, row, k) => sum + row[axis] * t[k], 0));
    this.distance = distance; // along forward, to the point that it turns about
    this.lens = { K, size };
  }

  get forward() {
    return this.axes[2];
  }

  // Intrinsics for a picture of another size, in which the photo's whole field of view is seen.
  intrinsics(width, height) {
    const [fx, fy, cx, cy] = this.lens.K;
    const [w, h] = this.lens.size;
    const scale = Math.min(width / w, height / h);
    return [fx * scale, fy * scale, width / 2 + (cx - w / 2) * scale, height / 2 + (cy - h / 2) * scale];
  }

  // About the point in front of it, as if the scene were dragged: angles in radians.
  orbit(right, down) {
    const target = along(this.eye, this.distance, this.forward);
    this.turn(this.up, -right);
    const height = Math.asin(clamp(dot(this.forward, this.up), -1, 1));
    const most = Math.max(HIGHEST, Math.abs(height)); // a photo's camera may look straight down
    const side = cross(this.forward, this.up);
    const level = Math.hypot(...side) > 1e-6 ? unit(side) : this.axes[0];
    this.turn(level, clamp(height - down, -most, most) - height);
    this.eye = along(target, -this.distance, this.forward);
  }

  turn(axis, angle) {
    const [right, down] = this.axes.map((row) => turned(row, axis, angle));
    const r = unit(right);
    const d = unit(along(down, -dot(down, r), r)); // stays orthonormal over thousands of turns
    this.axes = [r, d, cross(r, d)];
  }

  // Along its own axes, in world units.
  move(right, down, forward) {
    [right, down, forward].forEach((step, k) => (this.eye = along(this.eye, step, this.axes[k])));
  }

  // Towards the point in front of it; factors above 1 move away.
  zoom(factor) {
    const distance = Math.max(this.distance * factor, this.nearest);
    this.move(0, 0, this.distance - distance);
    this.distance = distance;
  }
}
