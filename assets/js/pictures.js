// Pictures that the page's editors share: stored on the server, loaded from it, and PNG files that carry notes.
window.easelPictures = (() => {
  const ROUTE = 'studio/v1/blobs';

  // The server's own sentence where it refuses.
  const answer = async (reply) => {
    const body = await reply.json().catch(() => ({}));
    if (!reply.ok) throw new Error(body.message || 'The server does not answer. Try again in a moment.');
    return body;
  };

  const send = (url, options) => fetch(url, options).then(answer, () => {
    throw new Error('The server does not answer. Check that Easel still runs.');
  });

  const store = async (blob) => (await send(ROUTE, {
    method: 'POST', headers: {'Content-Type': 'application/octet-stream'}, body: blob,
  })).id;

  const url = (id) => `${ROUTE}/${encodeURIComponent(id)}`;

  const image = async (id) => {
    const loaded = new Image();
    loaded.src = url(id);
    await loaded.decode().catch(() => { throw new Error('This picture is no longer stored. Upload it again.'); });
    return loaded;
  };

  const canvas = (width, height) => Object.assign(document.createElement('canvas'), {width, height});

  // ---------------------------------------------------------------- PNG notes (tEXt chunks)

  const table = Uint32Array.from({length: 256}, (_, n) => {
    let c = n;
    for (let k = 0; k < 8; k++) c = c & 1 ? 0xedb88320 ^ (c >>> 1) : c >>> 1;
    return c;
  });
  const crc = (bytes) => {
    let c = 0xffffffff;
    for (const byte of bytes) c = table[(c ^ byte) & 255] ^ (c >>> 8);
    return (c ^ 0xffffffff) >>> 0;
  };
  const latin = (text) => Uint8Array.from(text, (letter) => letter.charCodeAt(0) & 255);
  // JSON in plain ASCII, which is all that a tEXt chunk may hold.
  const ascii = (value) => JSON.stringify(value)
    .replace(/[^\x20-\x7e]/g, (letter) => '\\u' + letter.charCodeAt(0).toString(16).padStart(4, '0'));

  const HEADER = 33; // signature and IHDR, after which text may stand

  const withNote = async (png, key, value) => {
    const body = latin(`tEXt${key}\0${ascii(value)}`);
    const chunk = new Uint8Array(body.length + 8);
    const view = new DataView(chunk.buffer);
    view.setUint32(0, body.length - 4);
    chunk.set(body, 4);
    view.setUint32(4 + body.length, crc(body));
    const bytes = new Uint8Array(await png.arrayBuffer());
    return new Blob([bytes.slice(0, HEADER), chunk, bytes.slice(HEADER)], {type: 'image/png'});
  };

  const noteIn = (bytes, key) => {
    const view = new DataView(bytes.buffer);
    const start = `tEXt${key}\0`;
    for (let at = 8; at + 12 <= bytes.length;) {
      const length = view.getUint32(at);
      const chunk = bytes.subarray(at + 4, at + 8 + length);
      const name = String.fromCharCode(...chunk.subarray(0, start.length));
      if (name === start) return JSON.parse(new TextDecoder('latin1').decode(chunk.subarray(start.length)));
      if (name.startsWith('IDAT')) break;
      at += 12 + length;
    }
    return null;
  };

  // What the picture `id` says under `key`; null where it says nothing.
  const note = async (id, key) => {
    const reply = await fetch(url(id));
    if (!reply.ok) return null;
    try { return noteIn(new Uint8Array(await reply.arrayBuffer()), key); } catch { return null; }
  };

  const png = async (drawn, key, value) => {
    const blob = await new Promise((done) => drawn.toBlob(done, 'image/png'));
    return key ? withNote(blob, key, value) : blob;
  };

  const download = (blob, name) => {
    const link = document.createElement('a');
    link.href = URL.createObjectURL(blob);
    link.download = name;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10000);
  };

  // Calls `take` with each picture that is dropped on `zone` or chosen in its file inputs.
  const welcome = (zone, take) => {
    zone.addEventListener('dragover', (event) => { event.preventDefault(); zone.classList.add('over'); });
    zone.addEventListener('dragleave', () => zone.classList.remove('over'));
    zone.addEventListener('drop', (event) => {
      event.preventDefault();
      zone.classList.remove('over');
      [...event.dataTransfer.files].forEach((file) => take(file, 'photo'));
    });
    zone.addEventListener('change', (event) => {
      if (event.target.type !== 'file') return;
      [...event.target.files].forEach((file) => take(file, event.target.name));
      event.target.value = '';
    });
  };

  // Calls `take` with a picture that is pasted while `isHere`. What brings plain text, too, is meant as text.
  const pasted = (isHere, take) => document.addEventListener('paste', ({clipboardData: {files, types}}) => {
    const file = [...files].find((one) => one.type.startsWith('image/'));
    if (file && isHere() && !types.includes('text/plain')) take(file);
  });

  // An editor's own drawing, kept in this browser until the storage is full.
  const keep = (key, value) => { try { localStorage.setItem(key, JSON.stringify(value)); } catch { /* full */ } };
  const kept = (key) => { try { return JSON.parse(localStorage.getItem(key)); } catch { return null; } };

  // `then` runs `wait` ms after the last of a row of calls, or at once when the page is left before that.
  const debounced = (wait, then) => {
    let timer = null;
    let due = null;
    const run = () => {
      clearTimeout(timer);
      const given = due;
      due = null;
      if (given) then(...given);
    };
    addEventListener('pagehide', run);
    return (...given) => { clearTimeout(timer); due = given; timer = setTimeout(run, wait); };
  };

  return {send, store, url, image, canvas, note, png, download, welcome, pasted, keep, kept, debounced};
})();
