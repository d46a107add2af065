// A drawing as data, and how it is painted. Nothing here knows of pointers or buttons.
// {width, height, paper, map, layers: [{key, name, shown, marks}], active, photo: {id, opacity, mirrored} or null};
// a mark is a stroke {colour, size, erase, points: [x, y, pressure, ...]} in px, or a picture {id, mirrored}.
const PAPERS = {white: '#ffffff', black: '#000000'};

const emptyDrawing = ({width, height}) => ({
  width, height, paper: 'white', map: 'lines', active: 0, photo: null,
  layers: [{key: 1, name: 'Layer 1', shown: true, marks: []}],
});

const isDrawing = (doc) => doc?.width > 0 && doc.height > 0 && doc.paper in PAPERS
  && Array.isArray(doc.layers) && doc.layers.length > 0
  && doc.layers.every((layer) => Array.isArray(layer.marks)
    && layer.marks.every((mark) => typeof mark.id === 'string' || mark.points?.every(Number.isFinite)));

const hasInk = (doc) => doc.layers.some((layer) => layer.shown && layer.marks.some((mark) => !mark.erase));

// ------------------------------------------------------------------ strokes

// The part of a stroke that its point number `index` adds: a curve between the middles of its last two pieces.
const paintPoint = (pen, stroke, index) => {
  const at = (number) => stroke.points.slice(3 * number, 3 * number + 3);
  const [x2, y2, pressure] = at(index);
  pen.globalCompositeOperation = stroke.erase ? 'destination-out' : 'source-over';
  pen.strokeStyle = stroke.colour;
  pen.lineCap = pen.lineJoin = 'round';
  pen.lineWidth = Math.max(0.5, stroke.size * pressure);
  pen.beginPath();
  if (index === 0) {
    pen.moveTo(x2, y2);
    pen.lineTo(x2 + 0.01, y2);
  } else {
    const [x1, y1] = at(index - 1);
    const [x0, y0] = index > 1 ? at(index - 2) : [x1, y1];
    pen.moveTo((x0 + x1) / 2, (y0 + y1) / 2);
    pen.quadraticCurveTo(x1, y1, (x1 + x2) / 2, (y1 + y2) / 2);
  }
  pen.stroke();
};

const paintEnd = (pen, stroke) => {
  const [x1, y1, , x2, y2] = stroke.points.slice(-6);
  if (stroke.points.length < 6) return;
  pen.beginPath();
  pen.moveTo((x1 + x2) / 2, (y1 + y2) / 2);
  pen.lineTo(x2, y2);
  pen.stroke();
};

const paintStroke = (pen, stroke) => {
  for (let index = 0; index < stroke.points.length / 3; index++) paintPoint(pen, stroke, index);
  paintEnd(pen, stroke);
};

const paintPicture = (pen, image, {mirrored}, {width, height}) => {
  pen.save();
  pen.globalCompositeOperation = 'source-over';
  if (mirrored) { pen.translate(width, 0); pen.scale(-1, 1); }
  pen.drawImage(image, 0, 0, width, height);
  pen.restore();
};

// ------------------------------------------------------------------ painting

// Keeps a canvas a layer, so that a new stroke is all that is painted. `loaded` is called when a picture has come.
const painter = (loaded) => {
  const pictures = new Map();
  const painted = new Map();

  const picture = (id) => {
    if (!pictures.has(id)) {
      pictures.set(id, null);
      window.easelPictures.image(id).then((image) => {
        pictures.set(id, image);
        painted.clear();
        loaded();
      }, () => {});
    }
    return pictures.get(id);
  };

  const paintMark = (pen, mark, doc) => {
    if (!mark.id) paintStroke(pen, mark);
    else if (picture(mark.id)) paintPicture(pen, picture(mark.id), mark, doc);
  };

  const layerCanvas = (layer, doc) => {
    let own = painted.get(layer.key);
    const goesOn = own && own.canvas.width === doc.width && own.canvas.height === doc.height
      && own.marks.every((mark, index) => mark === layer.marks[index]);
    if (!goesOn) own = {canvas: window.easelPictures.canvas(doc.width, doc.height), marks: []};
    painted.set(layer.key, own);
    const pen = own.canvas.getContext('2d');
    layer.marks.slice(own.marks.length).forEach((mark) => paintMark(pen, mark, doc));
    own.marks = [...layer.marks];
    return own.canvas;
  };

  return {
    // A stroke that is still being drawn: its newest point goes onto the layer's own canvas.
    live(layer, doc, stroke) {
      paintPoint(layerCanvas(layer, doc).getContext('2d'), stroke, stroke.points.length / 3 - 1);
    },
    finish(layer, doc, stroke) {
      paintEnd(layerCanvas(layer, doc).getContext('2d'), stroke);
      painted.get(layer.key).marks.push(stroke);
    },
    forget(layer) { painted.delete(layer.key); },
    compose(canvas, doc, withPhoto) {
      if (canvas.width !== doc.width || canvas.height !== doc.height) Object.assign(canvas, {width: doc.width, height: doc.height});
      const pen = canvas.getContext('2d');
      pen.globalAlpha = 1;
      pen.fillStyle = PAPERS[doc.paper];
      pen.fillRect(0, 0, doc.width, doc.height);
      if (withPhoto && doc.photo && picture(doc.photo.id)) {
        pen.globalAlpha = doc.photo.opacity;
        paintPicture(pen, picture(doc.photo.id), doc.photo, doc);
        pen.globalAlpha = 1;
      }
      doc.layers.filter((layer) => layer.shown).forEach((layer) => pen.drawImage(layerCanvas(layer, doc), 0, 0));
      return canvas;
    },
  };
};

// What a control net reads: light lines on black, whatever paper they were drawn on; or the colours as they are.
const asMap = (canvas, doc) => {
  if (doc.map === 'colours') return canvas;
  const pen = canvas.getContext('2d');
  const cover = (operation, colour) => {
    pen.globalCompositeOperation = operation;
    pen.fillStyle = colour;
    pen.fillRect(0, 0, doc.width, doc.height);
  };
  cover('saturation', '#000000');
  if (doc.paper === 'white') cover('difference', '#ffffff');
  pen.globalCompositeOperation = 'source-over';
  return canvas;
};

const mirroredMarks = (marks, width) => marks.map((mark) => (mark.id
  ? {...mark, mirrored: !mark.mirrored}
  : {...mark, points: mark.points.map((value, index) => (index % 3 ? value : width - value))}));

const mirroredDrawing = (doc) => ({
  ...doc,
  photo: doc.photo && {...doc.photo, mirrored: !doc.photo.mirrored},
  layers: doc.layers.map((layer) => ({...layer, marks: mirroredMarks(layer.marks, doc.width)})),
});

// A drawing on a canvas of another shape: whole, and centred.
const resizedDrawing = (doc, {width, height}) => {
  const factor = Math.min(width / doc.width, height / doc.height);
  const shift = [(width - doc.width * factor) / 2, (height - doc.height * factor) / 2];
  const mark = (old) => (old.id ? old : {
    ...old, size: old.size * factor,
    points: old.points.map((value, index) => (index % 3 === 2 ? value : value * factor + shift[index % 3])),
  });
  return {...doc, width, height, layers: doc.layers.map((layer) => ({...layer, marks: layer.marks.map(mark)}))};
};
