// The map that pose ControlNets read, drawn as the engine draws it (studio/control/skeleton.py).
const colour = ([red, green, blue], shade = 1) =>
  `rgb(${Math.floor(red * shade)} ${Math.floor(green * shade)} ${Math.floor(blue * shade)})`;
const limbColour = (index) => colour(FACTS.colours[index], FACTS.shade);

// The middle of the pixel that holds a point.
const pixel = ([x, y]) => [Math.trunc(x) + 0.5, Math.trunc(y) + 0.5];

const disc = (pen, point, radius, paint) => {
  pen.fillStyle = paint;
  pen.beginPath();
  pen.arc(...pixel(point), radius, 0, 7);
  pen.fill();
};

const drawBody = (pen, person) => {
  for (const {start, end, index} of shownLimbs(person)) {
    const [[ax, ay], [bx, by]] = [person[start], person[end]];
    const [dx, dy] = [bx - ax, by - ay];
    const [along, across] = [Math.hypot(dx, dy) / 2, FACTS.stick].map((radius) => radius + 0.5); // OpenCV fills edges, too
    pen.fillStyle = limbColour(index);
    pen.beginPath();
    pen.ellipse(...pixel([(ax + bx) / 2, (ay + by) / 2]), along, across, Math.atan2(dy, dx), 0, 7);
    pen.fill();
  }
  person.slice(0, JOINTS).forEach((point, index) => {
    if (seen(point)) disc(pen, point, FACTS.stick, colour(FACTS.colours[index]));
  });
};

// Points of hands and faces on the upper and left edge count as missing.
const pointsOf = (person, part) => between(part).map((index) => {
  const [x, y] = person[index];
  return seen(person[index]) && Math.min(x, y) >= 1 ? [x, y] : null;
});

const drawHand = (pen, points) => {
  pen.lineWidth = FACTS.finger + 1; // as wide as OpenCV draws it
  FACTS.fingers.forEach(([start, end], index) => {
    if (!points[start] || !points[end]) return;
    pen.strokeStyle = colour(FACTS.fingerColours[index]);
    pen.beginPath();
    pen.moveTo(...pixel(points[start]));
    pen.lineTo(...pixel(points[end]));
    pen.stroke();
  });
  points.filter(Boolean).forEach((point) => disc(pen, point, FACTS.stick, colour(FACTS.handDot)));
};

const drawFace = (pen, points) => {
  points.filter(Boolean).forEach((point) => disc(pen, point, FACTS.faceDotPx, colour(FACTS.faceDot)));
};

const drawPoseMap = ({width, height, people}) => {
  const canvas = window.easelPictures.canvas(width, height);
  const pen = canvas.getContext('2d');
  pen.fillRect(0, 0, width, height);
  for (const person of people) {
    drawBody(pen, person);
    PARTS.forEach((part) => (part.bones ? drawHand : drawFace)(pen, pointsOf(person, part)));
  }
  return canvas;
};
