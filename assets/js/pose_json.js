// Poses as OpenPose's JSON, the way they travel between programs.
const rounded = (value) => Math.round(value * 100) / 100;

// What is hidden is 0, 0, 0; what is shown has confidence 1, since readers drop what is below.
const flat = (points) => points.flatMap((point) => (seen(point) ? [rounded(point[0]), rounded(point[1]), 1] : [0, 0, 0]));

const toOpenPose = ({width, height, people}) => ({
  people: people.map((person) => ({
    pose_keypoints_2d: flat(person.slice(0, JOINTS)),
    ...Object.fromEntries(PARTS.map((part) => [
      part.key, isShown(person, part) ? flat(person.slice(part.from, part.to)) : null])),
  })),
  canvas_width: width,
  canvas_height: height,
});

const problem = (sentence) => { throw new Error(sentence); };

// The numbers of a person, three a point: [joints, ...parts]; what it lacks is empty.
const listsOf = (person) => {
  const [joints, ...parts] = ['pose_keypoints_2d', ...PARTS.map(({key}) => key)].map((key) => person?.[key] || []);
  if (![joints, ...parts].every((list) => Array.isArray(list) && list.every(Number.isFinite))) {
    problem('The pose holds something that is no number.');
  }
  if (joints.length !== 3 * JOINTS && (joints.length || !parts.some((list) => list.length))) {
    problem(`Each person needs ${3 * JOINTS} numbers, three a joint. Export the pose as COCO with 18 joints.`);
  }
  PARTS.forEach(({name, points}, index) => {
    const {length} = parts[index];
    // A face has 68 points, or 70 with the pupils, or 71 with what some nets say beside them.
    if (length % 3 || length > 3 * (points + 1)) problem(`A ${name} has at most ${3 * points} numbers, three a point.`);
  });
  return [joints, ...parts.map((list, index) => list.slice(0, 3 * PARTS[index].points))];
};

const fromOpenPose = (given, size) => {
  const frame = Array.isArray(given) ? given[0] : given;
  if (!Array.isArray(frame?.people)) problem('This is no OpenPose JSON: it has no list "people".');
  const people = frame.people.map(listsOf);
  const normalised = people.flat().every((list) => list.every((value, index) => index % 3 === 2 || Math.abs(value) <= 1));
  const {canvas_width: ownWidth, canvas_height: ownHeight} = frame;
  const {width, height} = ownWidth > 0 && ownHeight > 0 ? canvasSize(ownWidth, ownHeight) : size;
  const [fx, fy] = normalised ? [width, height] : [width / (ownWidth || width), height / (ownHeight || height)];
  return {width, height, people: people.map((lists) => personFrom(lists, fx, fy, {width, height}))};
};

const triples = (list, fx, fy) => Array.from({length: list.length / 3}, (_, index) => (
  list[3 * index + 2] > 0 ? [list[3 * index] * fx, list[3 * index + 1] * fy, 1] : null));

const personFrom = ([joints, ...parts], fx, fy, size) => [
  ...jointsFrom(triples(joints, fx, fy), size),
  ...parts.flatMap((list, index) => {
    const points = triples(list, fx, fy);
    return Array.from({length: PARTS[index].points}, (_, at) => points[at] || [0, 0, 0]);
  }),
];

// Joints that the file does not know are hidden, near where they would be.
const jointsFrom = (joints, size) => {
  const usual = presetPerson(Object.values(FACTS.presets)[0], size, size.width / 2).slice(0, JOINTS);
  const anchor = joints.findIndex(Boolean);
  const [ox, oy] = anchor < 0 ? [0, 0] : [0, 1].map((axis) => joints[anchor][axis] - usual[anchor][axis]);
  return usual.map(([x, y], index) => joints[index] || [x + ox, y + oy, 0]);
};
