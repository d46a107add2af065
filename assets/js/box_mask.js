// Painting only inside the boxes: the photo beneath is the request's source, a mask of the boxes its mask.
const ourMasks = () => pictures.kept(MASKS) || [];
const inpaintPart = () => { try { return JSON.parse(page.read('inpaint') || '{}') || {}; } catch { return {}; } };

const drawMask = async ({boxes, photo}) => {
  const {naturalWidth: width, naturalHeight: height} = await pictures.image(photo);
  const canvas = pictures.canvas(width, height);
  const brush = canvas.getContext('2d');
  brush.fillRect(0, 0, width, height);
  brush.fillStyle = '#fff';
  boxes.forEach(({box: [x0, y0, x1, y1]}) => brush.fillRect(
    Math.round(x0 * width), Math.round(y0 * height), Math.round((x1 - x0) * width), Math.round((y1 - y0) * height)));
  const mask = await pictures.store(await pictures.png(canvas));
  pictures.keep(MASKS, [mask, ...ourMasks().filter((id) => id !== mask)].slice(0, 60));
  return mask;
};

let masked = '';  // what the mask in the form was drawn from
let written = ''; // that mask
const writeMask = async () => {
  const {doc} = edits;
  if (!doc.inside || !doc.on || !doc.photo || !doc.boxes.length) { takeMask(); return; }
  const source = JSON.stringify([doc.photo, doc.boxes.map(({box}) => box)]);
  if (source === masked && ourMasks().includes(inpaintPart().mask)) return;
  const mask = await drawMask(doc);
  if (doc !== edits.doc) { await writeMask(); return; }
  [masked, written] = [source, mask];
  page.write('source-image', doc.photo);
  page.write('inpaint', JSON.stringify({...inpaintPart(), mask}));
};
// Only what was put there by this editor is taken away.
const takeMask = () => {
  if (!masked || !ourMasks().includes(inpaintPart().mask)) return;
  [masked, written] = ['', ''];
  page.write('inpaint', '');
  page.write('source-image', '');
};
const maskLater = pictures.debounced(300, () => { if (edits.doc.inside || masked) attempt(writeMask); });
const setInside = (inside) => {
  if (inside) trigger('inside', {});
  edits.set(touched({...edits.doc, inside}));
};

// A photo that came into the form elsewhere is the start of what is made here, too, and nothing else would say so.
const startWords = () => {
  if (!live || !page.read('source-image')) return '';
  const {mask} = inpaintPart();
  if (edits.doc.inside && mask && ourMasks().includes(mask)) return '';
  return page.read('inpaint')
    ? 'Only the masked part of the photo in the form is painted anew.'
    : 'The picture starts from the one in the form.';
};
const drawStart = () => {
  const words = startWords();
  const line = element.querySelector('.starts');
  line.hidden = !words;
  line.querySelector('span').textContent = words;
};
const unstart = () => { page.write('inpaint', ''); page.write('source-image', ''); drawStart(); };

// Another mask came into the form: then it is not the boxes that say where is painted.
const heardMask = () => {
  const {mask} = inpaintPart();
  const own = !!mask && ourMasks().includes(mask);
  if (live && masked && edits.doc.inside && !own) { masked = ''; edits.set({...edits.doc, inside: false}); }
  const photo = page.read('source-image');
  if (live && own && photo && mask !== written && !edits.doc.inside) {
    edits.set({...edits.doc, photo, inside: true, example: false});
    measure().then(draw);
  }
};
