// What grow, shrink, blur and invert make of a mask, at a size that is quick to compute.
const EFFECT_SIDE = 480;

// Distance of each pixel to the nearest one that is `inside`, px; two sweeps with steps of 1 and root 2.
const distances = (inside, width, height) => {
  const far = width + height;
  const found = new Float32Array(width * height);
  const step = (at, x, y, dx, dy) => {
    if (x + dx < 0 || x + dx >= width || y + dy < 0 || y + dy >= height) return far;
    return found[at + dx + dy * width] + (dx && dy ? Math.SQRT2 : 1);
  };
  const sweep = (at, sign) => {
    const [x, y] = [at % width, Math.floor(at / width)];
    found[at] = Math.min(found[at], step(at, x, y, -sign, 0), step(at, x, y, 0, -sign),
      step(at, x, y, -sign, -sign), step(at, x, y, sign, -sign));
  };
  for (let at = 0; at < found.length; at++) found[at] = inside(at) ? 0 : far;
  for (let at = 0; at < found.length; at++) sweep(at, 1);
  for (let at = found.length - 1; at >= 0; at--) sweep(at, -1);
  return found;
};

// How much of the result is put over the photo `outside` px away from the grown mask.
const seamAt = (outside, blur) => {
  if (outside <= 0) return 1;
  return blur > 0 && outside < blur ? 0.5 * (1 - outside / blur) ** 2 : 0;
};

// Paints onto `shown` where the photo is going to change. Sizes of the options are px of the photo.
const paintEffect = (shown, mask, {grow = 0, blur = 4, invert = false}) => {
  const factor = Math.min(1, EFFECT_SIDE / Math.max(mask.width, mask.height));
  const [width, height] = [mask.width, mask.height].map((side) => Math.max(1, Math.round(side * factor)));
  Object.assign(shown, {width, height});
  const pen = shown.getContext('2d', {willReadFrequently: true});
  pen.drawImage(mask, 0, 0, width, height);
  const pixels = pen.getImageData(0, 0, width, height);
  const {data} = pixels;
  const isMasked = (at) => (data[4 * at + 3] >= 128) !== invert;
  const outward = distances(isMasked, width, height);
  const inward = distances((at) => !isMasked(at), width, height);
  const [red, green, blue] = [1, 3, 5].map((at) => parseInt(TINT.slice(at, at + 2), 16));
  for (let at = 0; at < outward.length; at++) {
    const outside = outward[at] > 0 ? outward[at] : 1 - inward[at];
    data.set([red, green, blue, Math.round(255 * seamAt(outside - grow * factor, blur * factor))], 4 * at);
  }
  pen.putImageData(pixels, 0, 0);
};
