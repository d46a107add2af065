// Boxes as [x0, y0, x1, y1] in 0-1 of the picture: moved, stretched, snapped, checked.
const SMALL = 1 / 16;    // of a side; models see little of what is smaller
const TINY = 0.01;       // no box is drawn smaller than this
const HEAVY = 0.6;       // intersection over union
const STOPS = [0, 1 / 3, 1 / 2, 2 / 3, 1];

const limited = (value, low = 0, high = 1) => Math.min(high, Math.max(low, value));
const rounded = (box) => box.map((value) => Math.round(value * 1e4) / 1e4);

// Within the picture, corners in order, with some area.
const proper = ([ax, ay, bx, by]) => {
  const span = (a, b) => {
    const low = limited(Math.min(a, b), 0, 1 - TINY);
    return [low, limited(Math.max(a, b), low + TINY, 1)];
  };
  const [[x0, x1], [y0, y1]] = [span(ax, bx), span(ay, by)];
  return rounded([x0, y0, x1, y1]);
};

const movedBox = ([x0, y0, x1, y1], dx, dy) => {
  const [x, y] = [limited(dx, -x0, 1 - x1), limited(dy, -y0, 1 - y1)];
  return rounded([x0 + x, y0 + y, x1 + x, y1 + y]);
};

// The edges that a handle ('n', 'se', ...) takes along follow the pointer.
const stretchedBox = ([x0, y0, x1, y1], handle, [x, y]) => proper([
  handle.includes('w') ? x : x0, handle.includes('n') ? y : y0,
  handle.includes('e') ? x : x1, handle.includes('s') ? y : y1,
]);

const holds = ([x0, y0, x1, y1], [x, y]) => x >= x0 && x <= x1 && y >= y0 && y <= y1;

// ------------------------------------------------------------------ snapping

const stopsAlong = (axis, others) => [...STOPS, ...others.flatMap((box) => [box[axis], box[axis + 2]])];

// The stop within `reach` that is nearest to one of `values`: {at, by}; null where none is.
const nearestStop = (values, stops, reach) => {
  let best = null;
  values.forEach((value) => stops.forEach((at) => {
    const by = at - value;
    if (Math.abs(by) <= (best ? Math.abs(best.by) - 1e-9 : reach)) best = {at, by};
  }));
  return best;
};

// Gives the point, and the lines it was drawn to: [{axis, at}]. Args: reach: [x, y]; axes: those that may snap.
const snappedPoint = (point, others, reach, axes = [0, 1]) => {
  const guides = [];
  const to = point.map((value, axis) => {
    const stop = axes.includes(axis) ? nearestStop([value], stopsAlong(axis, others), reach[axis]) : null;
    if (stop) guides.push({axis, at: stop.at});
    return stop ? stop.at : value;
  });
  return [to, guides];
};

// A whole box snaps with its edges and its middle.
const snappedBox = (box, others, reach) => {
  const guides = [];
  const [dx, dy] = [0, 1].map((axis) => {
    const values = [box[axis], box[axis + 2], (box[axis] + box[axis + 2]) / 2];
    const stop = nearestStop(values, stopsAlong(axis, others), reach[axis]);
    if (stop) guides.push({axis, at: stop.at});
    return stop ? stop.by : 0;
  });
  return [movedBox(box, dx, dy), guides];
};

// ------------------------------------------------------------------ checking

const areaOf = ([x0, y0, x1, y1]) => Math.max(0, x1 - x0) * Math.max(0, y1 - y0);
const shareOf = (a, b) => {
  const common = areaOf([Math.max(a[0], b[0]), Math.max(a[1], b[1]), Math.min(a[2], b[2]), Math.min(a[3], b[3])]);
  return common / (areaOf(a) + areaOf(b) - common);
};

// Sentences about what a model would make little of.
const checkedBoxes = (boxes) => boxes.flatMap(({box, phrase, image}, index) => {
  const name = `Box ${index + 1}`;
  const over = boxes.findIndex((other, at) => at > index && shareOf(box, other.box) > HEAVY);
  return [
    phrase.trim() || image ? '' : `${name} has no phrase: say what is to be seen in it.`,
    Math.min(box[2] - box[0], box[3] - box[1]) < SMALL - 1e-6
      ? `${name} is very small: below a sixteenth of a side a model sees little.` : '',
    over > 0 ? `Boxes ${index + 1} and ${over + 1} overlap heavily: one of them may win.` : '',
  ].filter(Boolean);
});
