// A head as a linear basis: what a code adds to every splat. The same mathematics as gs_reg.bake.basis and .attributes.

// Texel k of a splat has 13 signed bytes: offset, log-scale, rotation vector, opacity logit, colour. `weights` holds,
// four vectors a column, the code's coefficient times the step of each byte.
const changedSplat = (rank) => `
precision highp usampler2D;
uniform usampler2D basis;
uniform vec4 weights[${4 * rank}];

vec4 bytes(uint word) {
  return vec4(ivec4(word << 24, word << 16, word << 8, word) >> 24);
}

mat3 turned(vec3 v) {  // Rodrigues' formula, columns
  float angle = length(v);
  float s = angle > 1e-4 ? sin(angle) / angle : 1.0, c = angle > 1e-4 ? (1.0 - cos(angle)) / (angle * angle) : 0.5;
  return mat3(cos(angle)) + c * outerProduct(v, v) + s * mat3(0.0, v.z, -v.y, -v.z, 0.0, v.x, v.y, -v.x, 0.0);
}

Splat splat() {
  Splat s = stored();
  vec4 a = vec4(0.0), b = a, c = a, d = a;
  for (int k = 0; k < ${rank}; k++) {
    int at = int(row) * ${rank} + k;
    uvec4 t = texelFetch(basis, ivec2(at % ${TEXTURE_WIDTH}, at / ${TEXTURE_WIDTH}), 0);
    a += weights[4 * k] * bytes(t.x);
    b += weights[4 * k + 1] * bytes(t.y);
    c += weights[4 * k + 2] * bytes(t.z);
    d += weights[4 * k + 3] * bytes(t.w);
  }
  s.mean += a.xyz;
  s.logs += vec3(a.w, b.xy);
  s.axes = turned(vec3(b.zw, c.x)) * s.axes;
  float alpha = clamp(s.alpha, 0.5 / 65535.0, 1.0 - 0.5 / 65535.0);  // neither end has a finite logit
  s.alpha = 1.0 / (1.0 + (1.0 - alpha) / alpha * exp(-c.y));
  s.rgb += 0.28209479177387814 * vec3(c.zw, d.x);
  return s;
}`;

class Basis {
  // `steps` are the sizes of a byte's step, column by column and attribute by attribute; `words` the texels.
  constructor({ rank, steps, regressor }, words, base) {
    this.rank = rank;
    this.steps = steps;
    this.regressor = regressor;
    this.words = words;
    this.bytes = new Int8Array(words.buffer);
    this.base = base; // positions of the neutral splats
    this.weights = new Float32Array(16 * rank);
  }

  // Coefficients of a code: linear layers with SiLU between them.
  coefficients(code) {
    const { mean, scale, layers } = this.regressor;
    let h = code.map((value, i) => (value - mean[i]) / scale[i]);
    layers.forEach(([weight, bias], k) => {
      if (k > 0) h = h.map((value) => value / (1 + Math.exp(-value)));
      h = bias.map((value, row) => weight[row].reduce((sum, w, i) => sum + w * h[i], value));
    });
    return h;
  }

  take(code) {
    this.coefficients(code).forEach((c, k) => {
      for (let i = 0; i < 13; i++) this.weights[16 * k + i] = c * this.steps[k][i];
    });
  }

  positions() {
    const { rank, weights, bytes } = this;
    const out = new Float32Array(this.base);
    for (let i = 0, at = 0; i < out.length; i += 3) {
      for (let k = 0; k < rank; k++, at += 16) {
        out[i] += weights[16 * k] * bytes[at];
        out[i + 1] += weights[16 * k + 1] * bytes[at + 1];
        out[i + 2] += weights[16 * k + 2] * bytes[at + 2];
      }
    }
    return out;
  }
}
