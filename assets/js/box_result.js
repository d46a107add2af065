// Tells the editor what there is to see of the job: a preview, or the newest result.
const look = () => {
  const {src = '', image = '', live = ''} = element.querySelector('.seen')?.dataset ?? {};
  window.easelBoxes.tell('result', {src, image, live: live === 'true'});
};
watch('value', look);
look();
