// Splats by WebGL2: the projection of gs_reg.render (docs/kernels.md), one quad a splat, blended back to front.
// `stored()` is a splat as it lies in the table; a page may change it on its way to `main` by a `splat()` of its own.

const TEXTURE_WIDTH = 2048;

const AS_STORED = "Splat splat() { return stored(); }";

const vertexShader = (splat) => `#version 300 es
precision highp float;
precision highp int;
precision highp usampler2D;
uniform usampler2D table;  // a row of texels for every splat
uniform int texels, degree;
uniform mat3 axes;         // world to camera
uniform vec3 eye, harmonicScale;
uniform vec4 K;            // fx, fy, cx, cy in pixels
uniform vec2 size, logScale;
uniform float near;
in uint row;
out vec2 local;            // in standard deviations
out vec4 color;            // not premultiplied

struct Splat {
  vec3 mean, logs, rgb;    // logs: logarithms of the scales
  float alpha;
  mat3 axes;
};

uvec4 texel(int k) {
  int at = int(row) * texels + k;
  return texelFetch(table, ivec2(at % ${TEXTURE_WIDTH}, at / ${TEXTURE_WIDTH}), 0);
}

mat3 rotation(vec3 p) {  // of modified Rodrigues parameters
  float n = dot(p, p);
  float w = (1.0 - n) / (1.0 + n);
  vec3 q = 2.0 * p / (1.0 + n);
  vec3 s = 2.0 * q;
  vec3 d = q * s, o = q.xyx * s.yzz, u = w * s;  // o: 2xy, 2yz, 2xz
  return mat3(1.0 - d.y - d.z, o.x + u.z, o.z - u.y, o.x - u.z, 1.0 - d.x - d.z, o.y + u.x, o.z + u.y, o.y - u.x,
              1.0 - d.x - d.y);
}

vec3 coefficient(uint word) {  // three times 10 bits
  return (vec3(uvec3(word, word >> 10, word >> 20) & 1023u) - 511.0) / 511.0;
}

vec3 harmonics(vec3 v) {  // degrees 1 to 3, as gs_reg.sh has them
  uvec4 a = texel(2);
  vec3 sum = harmonicScale.x * 0.4886025119 * (v.z * coefficient(a.y) - v.y * coefficient(a.x) - v.x * coefficient(a.z));
  if (degree < 2) return sum;
  uvec4 b = texel(3);
  vec3 q = v * v;
  sum += harmonicScale.y * (1.0925484306 * (v.x * v.y * coefficient(a.w) - v.y * v.z * coefficient(b.x)
    - v.x * v.z * coefficient(b.z)) + 0.3153915653 * (2.0 * q.z - q.x - q.y) * coefficient(b.y)
    + 0.5462742153 * (q.x - q.y) * coefficient(b.w));
  if (degree < 3) return sum;
  uvec4 c = texel(4), e = texel(5);
  float f = 4.0 * q.z - q.x - q.y;
  sum += harmonicScale.z * (-0.5900435899 * v.y * (3.0 * q.x - q.y) * coefficient(c.x)
    + 2.8906114426 * v.x * v.y * v.z * coefficient(c.y) - 0.4570457995 * v.y * f * coefficient(c.z)
    + 0.3731763326 * v.z * (2.0 * q.z - 3.0 * q.x - 3.0 * q.y) * coefficient(c.w)
    - 0.4570457995 * v.x * f * coefficient(e.x) + 1.4453057213 * v.z * (q.x - q.y) * coefficient(e.y)
    - 0.5900435899 * v.x * (q.x - 3.0 * q.y) * coefficient(e.z));
  return sum;
}

Splat stored() {
  uvec4 a = texel(0), b = texel(1);
  vec2 third = vec2(unpackSnorm2x16(b.z).x, unpackUnorm2x16(b.z).y);
  vec3 logs = logScale.x + logScale.y * vec3(third.y, unpackUnorm2x16(b.w));
  vec3 rgb = vec3(unpackHalf2x16(a.w), unpackHalf2x16(b.x).x);
  mat3 turn = rotation(vec3(unpackSnorm2x16(b.y), third.x));
  return Splat(uintBitsToFloat(a.xyz), logs, rgb, unpackUnorm2x16(b.x).y, turn);
}

${splat}

void main() {
  gl_Position = vec4(0.0, 0.0, 2.0, 1.0);  // clipped, unless the splat is seen
  local = vec2(0.0);
  color = vec4(0.0);
  Splat s = splat();
  vec3 p = axes * (s.mean - eye);
  if (p.z < near || s.alpha < 1.0 / 255.0) return;

  vec3 scales = exp(s.logs);
  mat3 T = axes * s.axes;
  T = mat3(T[0] * scales.x, T[1] * scales.y, T[2] * scales.z);
  vec2 low = -(K.zw + 0.15 * size) / K.xy, high = (size - K.zw + 0.15 * size) / K.xy;
  vec2 slope = clamp(p.xy / p.z, low, high);  // in the Jacobian alone
  vec3 x = vec3(K.x, 0.0, -K.x * slope.x) / p.z * T, y = vec3(0.0, K.y, -K.y * slope.y) / p.z * T;
  float xx = dot(x, x) + 0.3, xy = dot(x, y), yy = dot(y, y) + 0.3;  // low-pass, square pixels

  float middle = 0.5 * (xx + yy), apart = length(vec2(0.5 * (xx - yy), xy));
  vec2 sigma = sqrt(vec2(middle + apart, max(middle - apart, 0.3)));
  vec2 major = xx >= yy ? vec2(0.5 * (xx - yy) + apart, xy) : vec2(xy, 0.5 * (yy - xx) + apart);
  major = apart > 0.0 ? normalize(major) : vec2(1.0, 0.0);
  float extent = sqrt(2.0 * log(255.0 * s.alpha));  // where alpha falls to 1/255
  local = extent * vec2(gl_VertexID & 1, gl_VertexID >> 1) * 2.0 - extent;
  vec2 pixel = K.xy * p.xy / p.z + K.zw + sigma.x * local.x * major + sigma.y * local.y * vec2(-major.y, major.x);
  gl_Position = vec4((2.0 * pixel / size - 1.0) * vec2(1.0, -1.0), 0.0, 1.0);

  vec3 rgb = s.rgb;
  if (degree > 0) rgb += harmonics(normalize(s.mean - eye));
  color = vec4(max(rgb, 0.0), s.alpha);
}`;

const FRAGMENT = `#version 300 es
precision highp float;
in vec2 local;
in vec4 color;
out vec4 premultiplied;
void main() {
  float alpha = color.a * exp(-0.5 * dot(local, local));
  if (alpha < 1.0 / 255.0) discard;
  alpha = min(alpha, 0.999);
  premultiplied = vec4(color.rgb * alpha, alpha);
}`;

function compiled(gl, splat) {
  const program = gl.createProgram();
  for (const [kind, text] of [[gl.VERTEX_SHADER, vertexShader(splat)], [gl.FRAGMENT_SHADER, FRAGMENT]]) {
    const shader = gl.createShader(kind);
    gl.shaderSource(shader, text);
    gl.compileShader(shader);
    gl.attachShader(program, shader);
  }
  gl.bindAttribLocation(program, 0, "row");
  gl.linkProgram(program);
  if (!gl.getProgramParameter(program, gl.LINK_STATUS)) {
    const logs = gl.getAttachedShaders(program).map((shader) => gl.getShaderInfoLog(shader));
    throw new Error(`the shaders do not compile here: ${gl.getProgramInfoLog(program)} ${logs.join(" ")}`);
  }
  return program;
}

class Painter {
  constructor(canvas, scene, splat = AS_STORED) {
    this.gl = canvas.getContext("webgl2", { alpha: false, antialias: false, depth: false, stencil: false });
    if (!this.gl) throw new Error("this browser has no WebGL2, or it is switched off");
    this.canvas = canvas;
    this.scene = scene;
    this.program = compiled(this.gl, splat);
    this.drawn = 0;
  }

  uniform(name) {
    return this.gl.getUniformLocation(this.program, name);
  }

  // A texture of words, `texels` for every splat, as what `name` in the shader reads.
  texture(unit, name, rows, texels) {
    const { gl, scene } = this;
    const height = Math.ceil((scene.count * texels) / TEXTURE_WIDTH);
    const most = gl.getParameter(gl.MAX_TEXTURE_SIZE);
    if (height > most) {
      const room = Math.floor((most * TEXTURE_WIDTH) / texels).toLocaleString("en");
      throw new Error(`these are more splats than the graphics here can hold: ${room}`);
    }
    gl.activeTexture(gl.TEXTURE0 + unit);
    gl.bindTexture(gl.TEXTURE_2D, gl.createTexture());
    gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_MIN_FILTER, gl.NEAREST); // integers have no other
    gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_MAG_FILTER, gl.NEAREST);
    gl.texStorage2D(gl.TEXTURE_2D, 1, gl.RGBA32UI, TEXTURE_WIDTH, height);
    const whole = Math.floor(rows.length / 4 / TEXTURE_WIDTH);
    const format = [gl.RGBA_INTEGER, gl.UNSIGNED_INT];
    if (whole) gl.texSubImage2D(gl.TEXTURE_2D, 0, 0, 0, TEXTURE_WIDTH, whole, ...format, rows);
    const rest = rows.length / 4 - whole * TEXTURE_WIDTH;
    const done = 4 * whole * TEXTURE_WIDTH;
    if (rest) gl.texSubImage2D(gl.TEXTURE_2D, 0, 0, whole, rest, 1, ...format, rows, done);
    gl.useProgram(this.program);
    gl.uniform1i(this.uniform(name), unit);
  }

  // Takes the table to the GPU, and with it what stays the same in every frame.
  load(rows) {
    const { gl, scene } = this;
    const texels = scene.words / 4;
    this.texture(0, "table", rows, texels);
    gl.uniform1i(this.uniform("texels"), texels);
    gl.uniform1i(this.uniform("degree"), scene.degree);
    gl.uniform2fv(this.uniform("logScale"), scene.logScale);
    gl.uniform3fv(this.uniform("harmonicScale"), scene.harmonicScale);
    gl.uniform1f(this.uniform("near"), scene.near);
    gl.bindBuffer(gl.ARRAY_BUFFER, gl.createBuffer());
    gl.enableVertexAttribArray(0);
    gl.vertexAttribIPointer(0, 1, gl.UNSIGNED_INT, 0, 0);
    gl.vertexAttribDivisor(0, 1);
    gl.enable(gl.BLEND);
    gl.blendFunc(gl.ONE, gl.ONE_MINUS_SRC_ALPHA);
  }

  take(order) {
    this.gl.bufferData(this.gl.ARRAY_BUFFER, order, this.gl.DYNAMIC_DRAW);
    this.drawn = order.length;
  }

  draw(camera, background) {
    const { gl } = this;
    const { width, height } = this.canvas;
    gl.viewport(0, 0, width, height);
    gl.clearColor(...background, 1);
    gl.clear(gl.COLOR_BUFFER_BIT);
    gl.uniformMatrix3fv(this.uniform("axes"), true, camera.axes.flat());
    gl.uniform3fv(this.uniform("eye"), camera.eye);
    gl.uniform4fv(this.uniform("K"), camera.intrinsics(width, height));
    gl.uniform2f(this.uniform("size"), width, height);
    gl.drawArraysInstanced(gl.TRIANGLE_STRIP, 0, 4, this.drawn);
  }
}
