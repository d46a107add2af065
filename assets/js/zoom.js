// The view of a canvas in its well: zoomed with Ctrl and wheel or two fingers, which also move it.
// `shown` is the element that is looked at, `fit` lays it out at the view's `zoom`.
const zoomable = (well, shown, fit, largest) => {
  const touches = new Map();
  const view = {
    zoom: 1,
    // The point of the drawing under `x, y` of the window stays where it is.
    to(value, x, y) {
      const before = shown.getBoundingClientRect();
      const [across, down] = [(x - before.left) / before.width, (y - before.top) / before.height];
      view.zoom = Math.min(largest, Math.max(1, value));
      fit();
      const after = shown.getBoundingClientRect();
      well.scrollBy(after.left + across * after.width - x, after.top + down * after.height - y);
    },
    by(factor) {
      const box = well.getBoundingClientRect();
      view.to(view.zoom * factor, box.left + box.width / 2, box.top + box.height / 2);
    },
    // True where this pointer is the second finger: from then on they hold the view, and draw nothing.
    takes(event) {
      if (event.pointerType === 'touch') touches.set(event.pointerId, event);
      return touches.size > 1;
    },
    moved(event) {
      if (touches.size > 1 && touches.has(event.pointerId)) pinch(event);
      if (touches.has(event.pointerId)) touches.set(event.pointerId, event);
    },
    lifted(event) { touches.delete(event.pointerId); },
  };

  const pinch = (event) => {
    const [one, other] = [...touches.values()];
    const rest = one.pointerId === event.pointerId ? other : one;
    const old = touches.get(event.pointerId);
    const apart = (a, b) => Math.max(1, Math.hypot(a.clientX - b.clientX, a.clientY - b.clientY));
    view.to(view.zoom * apart(event, rest) / apart(old, rest), event.clientX, event.clientY);
    well.scrollBy((old.clientX - event.clientX) / 2, (old.clientY - event.clientY) / 2);
  };

  well.addEventListener('wheel', (event) => {
    if (!event.ctrlKey) return;
    event.preventDefault();
    view.to(view.zoom * (event.deltaY < 0 ? 1.2 : 1 / 1.2), event.clientX, event.clientY);
  }, {passive: false});
  return view;
};

// The ring that shows how wide the brush is, `across` px of the window, around the pointer.
const placeBrush = (well, brush, event, across, hidden) => {
  const box = well.getBoundingClientRect();
  brush.style.display = event.pointerType === 'touch' || hidden ? 'none' : 'block';
  brush.style.width = brush.style.height = `${across}px`;
  brush.style.left = `${event.clientX - box.left + well.scrollLeft}px`;
  brush.style.top = `${event.clientY - box.top + well.scrollTop}px`;
};
