// Asks the queue for the map of a picture. It is given up as soon as nobody `wants` it any more; then null.
const JOBS = 'studio/v1/jobs';
const LOOK_MS = 120;

const makeMap = async (image, preprocessor, wants = () => true) => {
  const {send} = window.easelPictures;
  let job = await send(JOBS, {
    method: 'POST', headers: {'Content-Type': 'application/json'},
    body: JSON.stringify({kind: 'preprocess', image, preprocessor}),
  });
  const address = `${JOBS}/${job.id}`;
  while (['queued', 'running'].includes(job.state)) {
    if (!wants()) {
      send(address, {method: 'DELETE'}).catch(() => {});
      return null;
    }
    await new Promise((done) => setTimeout(done, LOOK_MS));
    job = await send(address);
  }
  if (job.state !== 'finished') throw new Error(job.failure?.message || 'The map was cancelled. Try again.');
  return job.blobs[0];
};
