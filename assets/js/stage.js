// Shows the result that a person chose in place of the newest, until another job brings something new.
let chosen = null;
let job = null;
let newest = null;

// What the newest job made, side by side in place of the one picture. A click takes one of them.
const arrange = (stage, tiles, all) => {
  stage.querySelector('.canvas .side-by-side')?.remove();
  stage.querySelector('.all')?.setAttribute('aria-pressed', String(all));
  if (!all) return;
  const grid = document.createElement('div');
  const made = tiles.filter((tile) => tile.dataset.job === tiles[0].dataset.job);
  grid.className = 'side-by-side';
  grid.style.setProperty('--columns', Math.ceil(Math.sqrt(made.length)));
  grid.append(...made.map((tile) => {
    const one = document.createElement('button');
    one.type = 'button';
    one.dataset.show = tile.dataset.show;
    one.setAttribute('aria-label', tile.getAttribute('aria-label'));
    one.append(Object.assign(new Image(), {src: tile.dataset.src, alt: ''}));
    return one;
  }));
  stage.querySelector('.canvas').append(grid);
};

const show = () => {
  const stage = element.querySelector('.stage');
  if (!stage) return;
  const tiles = [...stage.querySelectorAll('.tile')];
  if (stage.dataset.job !== job || tiles[0]?.dataset.show !== newest) chosen = null;
  job = stage.dataset.job;
  newest = tiles[0]?.dataset.show;
  const tile = tiles.find((one) => one.dataset.show === chosen) || tiles[0];
  const picture = stage.querySelector('.picture');
  const live = picture?.classList.contains('live') && !chosen;
  const all = chosen === 'all' && Boolean(stage.querySelector('.all'));
  arrange(stage, tiles, all);
  tiles.forEach((one) => one.setAttribute('aria-pressed', String(one === tile && !live && !all)));
  if (!tile) return;
  if (picture && !live && picture.getAttribute('src') !== tile.dataset.src) picture.setAttribute('src', tile.dataset.src);
  stage.querySelectorAll('.toolbar [data-id]').forEach((button) => { button.dataset.id = tile.dataset.show; });
  stage.querySelector('.toolbar .star')?.setAttribute('aria-pressed', tile.dataset.favourite);
  const link = stage.querySelector('.toolbar a[download]');
  link?.setAttribute('href', tile.dataset.src);
  link?.setAttribute('download', `easel-${tile.dataset.seed}`);
};

element.addEventListener('click', (event) => {
  const tile = event.target.closest('[data-show]');
  if (tile) {
    chosen = tile.dataset.show;
    show();
  } else if (event.target.matches('.picture')) {
    if (document.fullscreenElement) document.exitFullscreen(); else event.target.requestFullscreen?.();
  }
});
watch('value', show);
show();
