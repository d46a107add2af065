"""What browser tests wait for: the thing itself, never a number of milliseconds."""

from __future__ import annotations

import time

from studio.core.requests import GenerateRequest

LISTEN = """(() => {
  if (window.easelAnswered) return;
  // What the page asked and was not answered yet. The timer, which asks again and again, does not count.
  let asked = 0;
  const timers = () => window.gradio_config.components.filter(({type}) => type === 'timer').map(({id}) => id);
  const counts = (address, {body}) => (address.includes('run/predict')
    ? !timers().includes(JSON.parse(body).trigger_id) : /upload|studio.v1/.test(address));
  const ask = window.fetch;
  window.fetch = async (address, options = {}) => {
    if (!counts(String(address?.url ?? address), options)) return ask(address, options);
    asked += 1;
    const heard = () => setTimeout(() => { asked -= 1; });
    try {
      const reply = await ask(address, options);
      reply.clone().arrayBuffer().then(heard, heard);
      return reply;
    } catch (error) {
      heard();
      throw error;
    }
  };
  const frame = () => new Promise((done) => { requestAnimationFrame(() => setTimeout(done)); });
  window.easelDrawn = async () => { await frame(); await frame(); };
  window.easelAnswered = async () => {
    for (let quiet = 0; quiet < 4; quiet = asked ? 0 : quiet + 1) await frame();
  };
  // Until fades and slides have come to their end; what turns for ever has none.
  window.easelStill = async () => {
    await window.easelDrawn();
    const ending = document.getAnimations().filter((one) => one.effect.getTiming().iterations !== Infinity);
    await Promise.allSettled(ending.map((one) => one.finished));
  };
})()"""
"""For `add_init_script`: a page that can be asked whether it is done."""


def _wait(page, done):
    page.evaluate(f"{LISTEN}, window.{done}()")


def answered(page):
    """The server has answered all that was done on the page, and the page shows it."""
    _wait(page, "easelAnswered")


def next_frame(page):
    """What was painted is on the canvas, and every part has its place."""
    _wait(page, "easelDrawn")


def still(page):
    """Everything is answered, and nothing moves or fades any more."""
    answered(page)
    _wait(page, "easelStill")


BRING = """([kind, selector, [...bytes]]) => {
  const held = new DataTransfer();
  held.items.add(new File([new Uint8Array(bytes)], 'a.png', {type: 'image/png'}));
  const options = {bubbles: true, cancelable: true};
  const [on, event] = [document.querySelector(selector), kind === 'paste'
    ? new ClipboardEvent('paste', {...options, clipboardData: held})
    : new DragEvent(kind, {...options, dataTransfer: held})];
  return !on.dispatchEvent(event);
}"""


def brought(page, kind, selector, png):
    """A picture is dropped on or pasted at `selector`: was it taken? Args: kind: an event."""
    return page.evaluate(BRING, [kind, selector, list(png)])


def kept(page, key, *words):
    """This browser's storage holds all `words` under `key`, so a reload brings them back."""
    page.wait_for_function(
        "([key, words]) => words.every((word) => localStorage.getItem(key)?.includes(word))", arg=[key, words]
    )


def generations(studio):
    """All that were ever asked for, the newest first."""
    jobs = [job for job in studio.jobs(200) if isinstance(job.request, GenerateRequest)]
    return sorted(jobs, key=lambda job: job.created, reverse=True)


def asked_by(page, studio, press):
    """The generation that `press` brings to the studio, once the page knows of it too."""
    known = {job.id for job in generations(studio)}

    def new():
        return [job for job in generations(studio) if job.id not in known]

    press()
    until(new, page=page)
    answered(page)
    return new()[0]


def over(studio, job, timeout=60):
    """The job as it ended."""
    for _ in studio.events(job.id, timeout=timeout):
        pass
    ended = studio.job(job.id)
    assert ended.is_over, f"after {timeout} s the job is still {ended.state}"
    return ended


def left_alone(studio):
    """Nothing of an earlier test runs or waits any more."""
    jobs = [job for job in studio.jobs(200) if not job.is_over]
    for job in jobs:
        studio.cancel(job.id)
    for job in jobs:
        over(studio, job)


def until(happened, seconds=30, page=None):
    """Wait for something that no event tells of. Args: page: one that must be heard meanwhile."""
    end = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < end, f"it did not happen within {seconds} s"
        if page:
            page.wait_for_timeout(20)
        else:
            time.sleep(0.02)
