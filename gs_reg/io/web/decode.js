// From the text in the page to one row of 32-bit words for every splat.

const BASE64_AT_ONCE = 1 << 22; // characters, a multiple of 4

function base64Bytes(text) {
  const binary = atob(text);
  const bytes = new Uint8Array(binary.length);
  for (let i = 0; i < binary.length; i++) bytes[i] = binary.charCodeAt(i);
  return bytes;
}

// Unpacks gzip data in base64 whose size is known; `progress` is told the share that is done.
async function inflate(base64, size, progress) {
  if (!self.DecompressionStream) throw new Error("this browser is too old: it has no DecompressionStream");
  const stream = new DecompressionStream("gzip");
  const feed = async () => {
    const writer = stream.writable.getWriter();
    for (let i = 0; i < base64.length; i += BASE64_AT_ONCE) {
      await writer.write(base64Bytes(base64.slice(i, i + BASE64_AT_ONCE)));
      progress(i / base64.length);
      await new Promise((resume) => setTimeout(resume)); // lets the browser paint
    }
    await writer.close();
  };
  const bytes = new Uint8Array(size);
  const collect = async () => {
    const reader = stream.readable.getReader();
    let at = 0;
    for (;;) {
      const { done, value } = await reader.read();
      if (done) break;
      bytes.set(value, at);
      at += value.length;
    }
    if (at !== size) throw new Error(`expected ${size} bytes, got ${at}`);
  };
  await Promise.all([feed(), collect()]);
  return bytes;
}

// The file holds byte 0 of all rows, then byte 1 of all rows, and so on, as that packs better.
async function decodeRows(base64, count, words, progress) {
  const planes = await inflate(base64, 4 * words * count, progress);
  const bytes = new Uint8Array(planes.length);
  const stride = 4 * words;
  for (let byte = 0; byte < stride; byte++) {
    const plane = planes.subarray(byte * count, (byte + 1) * count);
    for (let i = 0, at = byte; i < count; i++, at += stride) bytes[at] = plane[i];
  }
  return new Uint32Array(bytes.buffer); // little-endian, as every machine with WebGL is
}

function positionsOf(rows, count, words) {
  const floats = new Float32Array(rows.buffer);
  const positions = new Float32Array(3 * count);
  for (let i = 0; i < count; i++) for (let axis = 0; axis < 3; axis++) positions[3 * i + axis] = floats[words * i + axis];
  return positions;
}
