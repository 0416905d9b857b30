// Planes from the server: a header of 24 bytes each, then the values. core/imaging/frames.py writes them.

const TYPES = [Uint8Array, Int16Array, Uint16Array, Int32Array, Float32Array, Uint32Array];
const HEADER_BYTES = 24;
const MAGIC = 0x31464c53; // "SLF1", little endian

/**
 * @typedef {object} Frame
 * @property {number} index
 * @property {number} rows
 * @property {number} columns
 * @property {number} channels
 * @property {boolean} isRuns
 * @property {Uint8Array|Int16Array|Uint16Array|Int32Array|Float32Array|Uint32Array} values
 */

/**
 * Read frames one by one while they arrive.
 * @param {Response} response
 * @returns {AsyncGenerator<Frame>}
 */
export async function* readFrames(response) {
  const bytes = new ByteReader(response.body.getReader());
  for (;;) {
    const head = await bytes.take(HEADER_BYTES, true);
    if (head === null) return;
    const view = new DataView(head.buffer);
    if (view.getUint32(0, true) !== MAGIC) throw new Error("The server sent no picture.");
    let body = await bytes.take(view.getUint32(20, true), false);
    if (view.getUint8(18)) body = await inflate(body);
    yield {
      index: view.getUint32(4, true),
      rows: view.getUint32(8, true),
      columns: view.getUint32(12, true),
      channels: view.getUint8(16),
      isRuns: view.getUint8(19) === 1,
      values: new TYPES[view.getUint8(17)](body.buffer),
    };
  }
}

/** Hands out exactly as many bytes as asked for, each time in a buffer of their own. */
class ByteReader {
  constructor(reader) {
    this.reader = reader;
    this.rest = new Uint8Array(0);
  }

  async take(count, mayEnd) {
    const out = new Uint8Array(count);
    let filled = 0;
    while (filled < count) {
      if (this.rest.length === 0) {
        const { done, value } = await this.reader.read();
        if (done) {
          if (mayEnd && filled === 0) return null;
          throw new Error("The picture was cut short.");
        }
        this.rest = value;
      }
      const part = this.rest.subarray(0, count - filled);
      out.set(part, filled);
      filled += part.length;
      this.rest = this.rest.subarray(part.length);
    }
    return out;
  }
}

/** @param {Uint8Array} bytes deflated (zlib) @returns {Promise<Uint8Array>} */
export async function inflate(bytes) {
  return through(bytes, new DecompressionStream("deflate"));
}

/** @param {Uint8Array} bytes @returns {Promise<Uint8Array>} deflated (zlib) */
export async function deflate(bytes) {
  return through(bytes, new CompressionStream("deflate"));
}

async function through(bytes, stream) {
  const done = new Response(stream.readable).arrayBuffer();
  const writer = stream.writable.getWriter();
  writer.write(bytes).catch(() => {});
  writer.close().catch(() => {});
  return new Uint8Array(await done);
}
