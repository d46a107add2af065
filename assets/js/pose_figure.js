// People as nodes of the SVG: built once for a number of people, then only moved.
const SVG = 'http://www.w3.org/2000/svg';
const node = (name, attributes, parent) => {
  const made = document.createElementNS(SVG, name);
  Object.entries(attributes).forEach(([key, value]) => made.setAttribute(key, value));
  parent?.append(made);
  return made;
};
const put = (made, attributes) => Object.entries(attributes).forEach(([key, value]) => made.setAttribute(key, value));

// Hands and faces have their points under fingers and pointers where they are at least so large on the screen, px.
const OPEN_PX = 130;
const REACH_PX = 13;

const buildPeople = (layer, count) => {
  layer.replaceChildren();
  for (let person = 0; person < count; person++) {
    const group = node('g', {class: 'person', 'data-person': person}, layer);
    FACTS.limbs.forEach((_, limb) => node('line', {class: 'limb', 'data-limb': limb, stroke: limbColour(limb)}, group));
    PARTS.forEach((part) => buildPart(group, part, person));
    FACTS.joints.forEach((name, joint) => {
      const one = node('g', {
        class: 'joint', tabindex: 0, role: 'button', 'data-joint': joint,
        'aria-label': `${name} of person ${person + 1}. Arrows move it, Delete hides it.`,
      }, group);
      node('circle', {class: 'reach'}, one);
      node('circle', {class: 'dot', fill: colour(FACTS.colours[joint])}, one);
    });
  }
};

const buildPart = (group, part, person) => {
  const one = node('g', {
    class: 'part', tabindex: 0, role: 'button', 'data-part': part.number,
    'aria-label': `${part.name} of person ${person + 1}. Arrows move it, plus and minus size it, Delete hides it.`,
  }, group);
  node('rect', {class: 'reach', rx: 6}, one);
  part.bones?.forEach((_, bone) => node('line', {class: 'bone', 'data-bone': bone, stroke: colour(FACTS.fingerColours[bone])}, one));
  const fill = colour(part.bones ? FACTS.handDot : FACTS.faceDot);
  between(part).forEach((point) => node('circle', {class: 'point', 'data-point': point, fill}, one));
};

// `unit`: px of the document that are one on the screen.
const placePerson = (group, person, unit) => {
  group.querySelectorAll('.limb').forEach((line) => {
    const [start, end] = FACTS.limbs[line.dataset.limb].map((joint) => person[joint]);
    placeLine(line, start, end, 7 * unit);
  });
  group.querySelectorAll('.part').forEach((one) => placePart(one, person, PARTS[one.dataset.part], unit));
  group.querySelectorAll('.joint').forEach((joint) => {
    const point = person[joint.dataset.joint];
    joint.style.display = seen(point) ? '' : 'none';
    joint.querySelectorAll('circle').forEach((circle, at) => {
      put(circle, {cx: point[0], cy: point[1], r: (at ? 6.5 : REACH_PX) * unit});
    });
  });
};

const placeLine = (line, start, end, width) => {
  line.style.display = seen(start) && seen(end) ? '' : 'none';
  put(line, {x1: start[0], y1: start[1], x2: end[0], y2: end[1], 'stroke-width': width});
};

const placePart = (one, person, part, unit) => {
  const points = between(part).map((index) => person[index]);
  const shown = points.filter(seen);
  one.style.display = shown.length ? '' : 'none';
  if (!shown.length) return;
  const {x0, y0, x1, y1} = boundsOf(shown);
  const gap = Math.max(4 * unit, (2 * REACH_PX * unit - Math.min(x1 - x0, y1 - y0)) / 2);
  put(one.querySelector('.reach'), {x: x0 - gap, y: y0 - gap, width: x1 - x0 + 2 * gap, height: y1 - y0 + 2 * gap});
  const side = Math.max(x1 - x0, y1 - y0) / unit;
  one.classList.toggle('open', side >= OPEN_PX);
  const radius = Math.min(5, Math.max(1.2, side / 40)) * unit;
  one.querySelectorAll('.bone').forEach((line) => {
    const [start, end] = part.bones[line.dataset.bone];
    placeLine(line, points[start], points[end], Math.max(1.2 * unit, radius * 0.7));
  });
  one.querySelectorAll('.point').forEach((circle) => {
    const [x, y] = person[circle.dataset.point];
    circle.style.display = seen(person[circle.dataset.point]) ? '' : 'none';
    put(circle, {cx: x, cy: y, r: radius});
  });
};
