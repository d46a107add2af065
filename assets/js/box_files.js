// Layouts as files: our own JSON, and the first picture of a COCO data set.
const FORMAT = 'easel-boxes';
const oddFile = (sentence) => { throw new Error(sentence); };
const isNumbers = (list, count) => Array.isArray(list) && list.length === count && list.every(Number.isFinite);

const layoutText = (boxes, {width, height}) => JSON.stringify({
  format: FORMAT, width, height,
  boxes: boxes.map(({phrase, box, colour}) => ({phrase, box, colour})),
}, null, 1);

const ownLayout = ({boxes}) => boxes.map((one) => {
  const box = one?.box && !Array.isArray(one.box) ? ['x0', 'y0', 'x1', 'y1'].map((key) => one.box[key]) : one?.box;
  if (!isNumbers(box, 4) || box.some((value) => value < 0 || value > 1)) {
    oddFile('A box of this layout is not four numbers from 0 to 1. Check the file.');
  }
  if (box[2] <= box[0] || box[3] <= box[1]) oddFile('A box of this layout has no area. Check the file.');
  return {phrase: String(one.phrase ?? '').slice(0, 500), box, colour: one.colour};
});

const cocoLayout = ({images, annotations, categories = []}) => {
  const [picture] = images;
  if (!(picture?.width > 0 && picture.height > 0)) {
    oddFile('The first picture of this COCO file does not say its width and height.');
  }
  const names = Object.fromEntries(categories.map(({id, name}) => [id, name]));
  return annotations.filter((one) => one.image_id === picture.id).map((one) => {
    if (!isNumbers(one.bbox, 4)) oddFile('A box of this COCO file is not four numbers: x, y, width, height.');
    const [x, y, width, height] = one.bbox;
    const box = [x / picture.width, y / picture.height, (x + width) / picture.width, (y + height) / picture.height]
      .map((value) => limited(value));
    return {phrase: String(names[one.category_id] ?? ''), box};
  }).filter(({box}) => areaOf(box) > 0);
};

// The boxes of a file. Throws: an Error with a sentence for a person.
const readLayout = (text) => {
  let given;
  try { given = JSON.parse(text); } catch { oddFile('This file is no JSON. Choose a layout or a COCO file.'); }
  const isCoco = Array.isArray(given?.images) && Array.isArray(given.annotations);
  if (!isCoco && !Array.isArray(given?.boxes)) {
    oddFile('This file holds no boxes. Choose a layout of Easel, or a COCO file with images and annotations.');
  }
  const boxes = isCoco ? cocoLayout(given) : ownLayout(given);
  if (!boxes.length) oddFile(`This file holds no box${isCoco ? ' for its first picture' : ''}.`);
  return boxes;
};
