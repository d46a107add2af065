// What a person of the pose editor is made of, and what moves, scales and mirrors it.
// A person is a row of points [x, y, shown] in px of the canvas: 18 joints, then the points of the hands and of
// the face. `shown` is 1; 0 of a hidden joint and of a point that nobody knows; -1 of one whose part is hidden.
// FACTS, the joints and parts, come from studio/core/pose.py.
const JOINTS = FACTS.joints.length;

const PARTS = FACTS.parts.map((part, number) => {
  const from = JOINTS + FACTS.parts.slice(0, number).reduce((sum, {points}) => sum + points, 0);
  return {...part, number, from, to: from + part.points};
});
const POINTS = PARTS.at(-1).to;

const seen = (point) => point[2] > 0;
const between = ({from, to}) => Array.from({length: to - from}, (_, index) => from + index);

// People of earlier versions have joints alone.
const whole = (person) => [...person, ...Array.from({length: POINTS - person.length}, () => [0, 0, 0])];

const shownLimbs = (person) => FACTS.limbs
  .map(([start, end], index) => ({start, end, index}))
  .filter(({start, end}) => seen(person[start]) && seen(person[end]));

const mapPoints = (person, change) => person.map(([x, y, shown]) => [...change(x, y), shown]);

const boundsOf = (points) => {
  const [xs, ys] = [0, 1].map((axis) => points.map((point) => point[axis]));
  return {x0: Math.min(...xs), y0: Math.min(...ys), x1: Math.max(...xs), y1: Math.max(...ys)};
};
const boxOf = (person) => {
  const shown = person.filter(seen);
  return boundsOf(shown.length ? shown : person.slice(0, JOINTS));
};

const moved = (person, dx, dy) => mapPoints(person, (x, y) => [x + dx, y + dy]);

const movedPoints = (person, points, dx, dy) => person.map(
  ([x, y, shown], index) => (points.includes(index) ? [x + dx, y + dy, shown] : [x, y, shown]));

const scaled = (person, factor, ox, oy) =>
  mapPoints(person, (x, y) => [ox + (x - ox) * factor, oy + (y - oy) * factor]);

// As in a mirror: who showed the right hand shows the left one.
const mirroredPerson = (person) => {
  const {x0, x1} = boxOf(person);
  const flipped = mapPoints(person, (x, y) => [x0 + x1 - x, y]);
  return FACTS.mirrored.map((index) => flipped[index]);
};

// What goes along when a joint is moved: the hand with its wrist, the face with the nose.
const withParts = (joint) => [joint, ...PARTS.filter((part) => part.joint === joint).flatMap(between)];

const isKnown = (person, part) => between(part).some((index) => person[index][2] !== 0);
const isShown = (person, part) => between(part).some((index) => seen(person[index]));
const showPart = (person, {from, to}, on) => person.map(([x, y, shown], index) => (
  index >= from && index < to && shown ? [x, y, on ? 1 : -1] : [x, y, shown]));

// A preset in 0-1 of the figure's own square, as tall as the canvas allows, around `centre` px.
const presetPerson = (points, {width, height}, centre) => {
  const side = Math.min(height, width / 0.8);
  return whole(points.map(([x, y]) => [centre + (x - 0.5) * side, (height - side) / 2 + y * side, 1]));
};
