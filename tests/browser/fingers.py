"""Fingers on a touch screen: any number at once, along straight lines."""

FAR = 8
"""Places along each line."""


def touch(page, phone, *lines):
    """Fingers come down one after another, move together, and go. Lines: (start, end), px of the window."""
    session = phone.new_cdp_session(page)

    def send(kind, points):
        told = [{"x": x, "y": y, "id": finger} for finger, (x, y) in enumerate(points)]
        session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": told})

    for count in range(1, len(lines) + 1):
        send("touchStart", [start for start, _ in lines[:count]])
    for step in range(1, FAR + 1):
        send("touchMove", [_along(*line, step / FAR) for line in lines])
    send("touchEnd", [])
    session.detach()


def pinch(page, phone, locator, apart=0.2, to=0.4):
    """Two fingers side by side over the middle of `locator`, from `apart` of its width to `to`."""
    box = locator.bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    sides = [side * box["width"] / 2 for side in (-1, 1)]
    touch(page, phone, *(((x + side * apart, y), (x + side * to, y)) for side in sides))


def _along(start, end, share):
    return tuple(a + (b - a) * share for a, b in zip(start, end, strict=True))
