// A mask as data, and how it is painted: {width, height, marks} in px of the photo. A mark is one of
// {kind: 'stroke', erase, size, points: [x, y, ...]}, {kind: 'area', erase, points}, {kind: 'invert'},
// {kind: 'picture', id}, {kind: 'region', canvas}.
const TINT = '#c2452d';
const NOISE = 8; // of opacity

const emptyMask = (width, height) => ({width, height, marks: []});

const paintPath = (pen, {erase, points}, close) => {
  pen.globalCompositeOperation = erase ? 'destination-out' : 'source-over';
  pen.strokeStyle = pen.fillStyle = TINT;
  pen.beginPath();
  pen.moveTo(points[0], points[1]);
  for (let at = 2; at < points.length; at += 2) pen.lineTo(points[at], points[at + 1]);
  if (points.length === 2) pen.lineTo(points[0] + 0.01, points[1]);
  if (close) pen.closePath();
};

const paintStrokeFrom = (pen, mark, from) => {
  pen.lineCap = pen.lineJoin = 'round';
  pen.lineWidth = mark.size;
  paintPath(pen, {...mark, points: mark.points.slice(2 * from)}, false);
  pen.stroke();
};

const MARKS = {
  stroke: (pen, mark) => paintStrokeFrom(pen, mark, 0),
  area(pen, mark) { paintPath(pen, mark, true); pen.fill(); },
  invert(pen) {
    pen.globalCompositeOperation = 'xor';
    pen.fillStyle = TINT;
    pen.fillRect(0, 0, pen.canvas.width, pen.canvas.height);
  },
  region(pen, mark) {
    pen.globalCompositeOperation = 'source-over';
    pen.drawImage(mark.canvas, 0, 0);
  },
};

// True for a layer that was painted on: what is opaque in it is masked, whatever its colour. Opacity that is
// the same everywhere, but for the noise of scaling, says nothing.
const isLayer = (data) => {
  let least = 255;
  let most = 0;
  for (let at = 3; at < data.length; at += 4) {
    if (data[at] < least) least = data[at];
    if (data[at] > most) most = data[at];
  }
  return most - least > NOISE || most <= NOISE;
};

// A picture as the studio reads masks, as the tint's opacity: a layer's own, or else the picture's light.
const tinted = (image, width, height) => {
  const canvas = window.easelPictures.canvas(width, height);
  const pen = canvas.getContext('2d', {willReadFrequently: true});
  pen.drawImage(image, 0, 0, width, height);
  const pixels = pen.getImageData(0, 0, width, height);
  const {data} = pixels;
  const [red, green, blue] = [1, 3, 5].map((at) => parseInt(TINT.slice(at, at + 2), 16));
  const isOpacity = isLayer(data);
  for (let at = 0; at < data.length; at += 4) {
    if (!isOpacity) data[at + 3] = Math.round(0.299 * data[at] + 0.587 * data[at + 1] + 0.114 * data[at + 2]);
    [data[at], data[at + 1], data[at + 2]] = [red, green, blue];
  }
  pen.putImageData(pixels, 0, 0);
  return canvas;
};

// Keeps `canvas` as the document says. What is only added to is not painted again.
const maskPainter = (canvas) => {
  const loaded = new Map();
  let painted = [];

  const pen = () => canvas.getContext('2d');
  const picture = async (id, width, height) => {
    const key = `${id} ${width} ${height}`;
    if (!loaded.has(key)) loaded.set(key, tinted(await window.easelPictures.image(id), width, height));
    return loaded.get(key);
  };
  const paintMark = (mark, {width, height}) => {
    if (mark.kind === 'picture') MARKS.region(pen(), {canvas: loaded.get(`${mark.id} ${width} ${height}`)});
    else MARKS[mark.kind](pen(), mark);
  };

  return {
    // Loads what the document shows, so that `show` can paint it at once. Raises where a picture is gone.
    load: (doc) => Promise.all(doc.marks.filter((mark) => mark.kind === 'picture')
      .map((mark) => picture(mark.id, doc.width, doc.height))),
    show(doc) {
      const isSame = canvas.width === doc.width && canvas.height === doc.height;
      const goesOn = isSame && painted.every((mark, at) => mark === doc.marks[at]);
      if (!isSame) Object.assign(canvas, {width: doc.width, height: doc.height});
      if (!goesOn) { pen().clearRect(0, 0, doc.width, doc.height); painted = []; }
      doc.marks.slice(painted.length).forEach((mark) => paintMark(mark, doc));
      painted = [...doc.marks];
    },
    // A stroke that is still being drawn: only what its points from number `from` add.
    live(stroke, from) { paintStrokeFrom(pen(), stroke, Math.max(0, from - 1)); },
    finish(stroke) { painted.push(stroke); },
    forget() { painted = [null]; },
  };
};

// How much of the photo is masked: 'nothing', 'all' or 'a part'.
const maskCover = (canvas) => {
  const {data} = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
  const isMasked = data[3] >= 128;
  for (let at = 7; at < data.length; at += 4) if ((data[at] >= 128) !== isMasked) return 'a part';
  return isMasked ? 'all' : 'nothing';
};

// The mask as the request wants it: white on black.
const maskPicture = (canvas) => {
  const made = window.easelPictures.canvas(canvas.width, canvas.height);
  const pen = made.getContext('2d');
  const cover = (operation, colour) => {
    pen.globalCompositeOperation = operation;
    pen.fillStyle = colour;
    pen.fillRect(0, 0, made.width, made.height);
  };
  pen.drawImage(canvas, 0, 0);
  cover('source-in', '#ffffff');
  cover('destination-over', '#000000');
  return made;
};

// A tint wherever the colour under `x, y` reaches without a gap.
const regionAt = (pixels, x, y) => {
  const {width, height} = pixels;
  const colours = new Uint32Array(pixels.data.buffer);
  const wanted = colours[y * width + x];
  const region = new Uint8Array(width * height);
  const open = [y * width + x];
  while (open.length) {
    const at = open.pop();
    if (region[at] || colours[at] !== wanted) continue;
    region[at] = 1;
    if (at % width) open.push(at - 1);
    if ((at + 1) % width) open.push(at + 1);
    if (at >= width) open.push(at - width);
    if (at + width < region.length) open.push(at + width);
  }
  const made = window.easelPictures.canvas(width, height);
  const pen = made.getContext('2d');
  const image = pen.createImageData(width, height);
  const light = new Uint32Array(image.data.buffer);
  region.forEach((isIn, at) => { if (isIn) light[at] = 0xff2d45c2; });
  pen.putImageData(image, 0, 0);
  return made;
};
