"""Runs the jobs that need the device. Lives on the one GPU thread; this is where torch comes in."""

from __future__ import annotations

import gc
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial

import psutil
import torch
from PIL import Image

from studio.app.active import JobContext, Made
from studio.app.box_scene import read_boxes
from studio.app.facts import model_facts
from studio.app.generation import Generation
from studio.app.networks import find_networks
from studio.app.observer import JobObserver
from studio.app.preprocessing import Preprocessing
from studio.app.stack_pictures import read_stack, side_in_frame
from studio.core.base import BlobId, ModelId
from studio.core.conditions import ControlInput
from studio.core.errors import EaselError, InvalidRequest, OutOfMemory, at
from studio.core.jobs import JobView
from studio.core.library import ImageId
from studio.core.models import ModelKind, StudioStatus
from studio.core.protocol import TokenCount
from studio.core.requests import GenerateRequest, PreprocessRequest
from studio.core.settings import Settings
from studio.diffusion.chunks import COUNTED_STEPS, NO_WORDS, LearnedWords, count_tokens
from studio.diffusion.encode import EmbeddingCache
from studio.diffusion.generate import FinishedPicture
from studio.diffusion.inpaint_scene import InpaintScene, make_scene
from studio.diffusion.plan import GeneratePlan, plan
from studio.diffusion.plan_networks import plan_words
from studio.diffusion.plan_stack import PlannedLora, tagged_loras
from studio.diffusion.prompt import parse_prompt
from studio.models.catalogue import ModelCatalogue
from studio.models.components import Checkpoint, ComponentRef, components_of, one_a_role
from studio.models.cores import IdleCores
from studio.models.device import choose_device
from studio.models.manager import ModelManager
from studio.models.modules import import_classes
from studio.models.tensor_file import tensor_file_of
from studio.storage.infotext import ModelFacts
from studio.storage.library import Library
from studio.storage.maps import MapIndex
from studio.storage.pictures import read_mask, read_picture

_EMBEDDING_CACHE_BYTES = 256 * 2**20


class Engine:
    """The device, the manager, and the way from a request to pictures in the library."""

    def __init__(
        self, settings: Settings, catalogue: ModelCatalogue, library: Library, maps: MapIndex
    ) -> None:
        import_classes()
        device = choose_device(settings)
        self.manager = ModelManager(
            device,
            ram_budget=int(psutil.virtual_memory().total * settings.ram_fraction),
            device_budget=int(device.total_memory * settings.vram_fraction),
            compile=settings.compile,
        )
        self._cores = IdleCores()
        self._settings = settings
        self._catalogue = catalogue
        self._library = library
        self._preprocessing = Preprocessing(settings, catalogue, library, maps, self.manager)
        self._embeddings = EmbeddingCache(_EMBEDDING_CACHE_BYTES)
        self._hashing = ThreadPoolExecutor(1, thread_name_prefix="easel-hash")

    def run(self, job: JobView, context: JobContext) -> Made:
        """Do the work of a job of any kind that needs the device."""
        self._cores.begin()
        if isinstance(job.request, PreprocessRequest):
            return Made(blobs=(self._preprocessing.run(job.request, self._observer(context)),))
        return self._generate(job, context)

    def _generate(self, job: JobView, context: JobContext) -> Made:
        """Make the pictures of a job; each is in the library as soon as it is finished.

        Out of memory: everything unused is freed, and the rest of the job is tried once more in the leanest
        way, one module on the device at a time.
        """
        observer = self._observer(context)
        generation = self._prepare(job, observer, context)
        try:
            generation.run()
        except (torch.OutOfMemoryError, OutOfMemory):
            observer.log("Out of memory: trying again with one part of the model in memory at a time.")
        else:
            return Made(blobs=generation.stack.maps)
        self._run_leaner(generation)
        return Made(blobs=generation.stack.maps)

    def _observer(self, context: JobContext) -> JobObserver:
        return JobObserver(context, self._settings.preview_seconds, self._cores.adapt)

    def describe(self, status: StudioStatus) -> StudioStatus:
        """`status` with what the engine knows of the device and of what is loaded."""
        device = self.manager.device
        return status.model_copy(
            update={
                "ready": True,
                "message": "",
                "device": str(device.torch_device),
                "device_name": device.name,
                "precision": device.precision,
                "memory_used": self.manager.device_bytes,
                "memory_budget": self.manager.device_budget,
                "memory_total": device.total_memory,
                "memory_free": device.free_memory,
                "components": self.manager.components(),
                "notes": self.manager.notes,
            }
        )

    def count_tokens(
        self, prompt: str, model_id: ModelId, loras: Sequence[ModelId] = ()
    ) -> TokenCount | None:
        """How much of the window `prompt` takes; None where the model's tokenizer is not at hand.

        Args:
            loras: that are on beside those of the prompt's own tags.

        Raises: PromptError.
        """
        try:
            info = self._catalogue.find(model_id)
            checkpoint = components_of(self._catalogue, info, fingerprints=False)
            words = checkpoint.components["tokenizer"]
            if not words.is_at_hand:
                return None
            tokenizer = self.manager.tokenizer(words)
        except EaselError:
            return None
        return count_tokens(tokenizer, prompt, self._words(prompt, checkpoint, loras))

    def _words(self, prompt: str, checkpoint: Checkpoint, loras: Sequence[ModelId]) -> LearnedWords:
        """The textual inversions that `prompt` names; none where one of them would be refused."""
        installed = self._catalogue.models(ModelKind.EMBEDDING)
        try:
            parsed = parse_prompt(prompt)
            stack = (self._catalogue.find(model_id) for model_id in loras)
            words = plan_words(
                {"prompt": parsed},
                [COUNTED_STEPS],
                checkpoint.info,
                installed,
                loras=[*stack, *tagged_loras(parsed, checkpoint.info, self._catalogue)],
            )
            found = find_networks(self._catalogue, checkpoint, words).embeddings
        except EaselError:
            return NO_WORDS
        return LearnedWords({one.planned.name: one.shape.vectors for one in found})

    def _prepare(self, job: JobView, observer: JobObserver, context: JobContext) -> Generation:
        """Everything that is decided and read before the first component is borrowed."""
        request = job.request
        if not isinstance(request, GenerateRequest):
            raise InvalidRequest(f"The device does not run jobs of the kind {request.kind}.", field="kind")
        planned = plan(request, self._catalogue)
        facts = self._hashing.submit(model_facts, planned, self._catalogue)
        observer.phase("Reading the model's files")  # a large one that was never looked at takes seconds
        checkpoint = components_of(self._catalogue, planned.checkpoint)
        networks = find_networks(self._catalogue, checkpoint, planned.words, planned.hypernetworks)
        source = self._source(request)
        scene = self._scene(planned, source)
        # The steps of preprocessors say nothing of the time that the pictures take.
        make_map = partial(self._control_map, self._observer(context), planned, scene)
        stack = read_stack(planned, self._catalogue, self._picture, self._mask, make_map)
        if scene is not None:
            stack = stack.framed(scene)
        boxes = read_boxes(planned, self._catalogue, self._picture, scene or source)
        for note in (*planned.notes, *networks.notes, *boxes.notes):
            observer.log(note)
        return Generation(
            plan=planned,
            checkpoint=checkpoint,
            refs=one_a_role((*self._refs(planned, checkpoint), *stack.refs, *networks.refs, *boxes.refs)),
            networks=networks,
            stack=stack,
            boxes=boxes.scene,
            manager=self.manager,
            embeddings=self._embeddings,
            observer=observer,
            source=source,
            scene=scene,
            store=lambda picture: context.keep(self._store(picture, request, facts, job.id)),
        )

    def _run_leaner(self, generation: Generation) -> None:
        gc.collect()  # tensors of the failed attempt may hang in reference cycles
        self.manager.recover()
        try:
            generation.run(lean=True)
        except torch.OutOfMemoryError as error:
            raise self._too_large(generation.plan) from error
        finally:
            self.manager.recover()

    def _refs(self, planned: GeneratePlan, checkpoint: Checkpoint) -> tuple[ComponentRef, ...]:
        loras = {lora.role: self._lora(lora) for lora in planned.loras}
        if planned.vae is None:
            return (*checkpoint.modules, *loras.values())
        vae = components_of(self._catalogue, planned.vae).components["vae"]
        return (*(ref for ref in checkpoint.modules if ref.role != "vae"), vae, *loras.values())

    def _lora(self, planned: PlannedLora) -> ComponentRef:
        with at(planned.field):
            return tensor_file_of(self._catalogue, planned.model)

    def _scene(self, planned: GeneratePlan, source: Image.Image | None) -> InpaintScene | None:
        request = planned.request
        if request.inpaint is None or request.source is None or source is None:
            return None
        mask = self._mask(request.inpaint.mask) if request.inpaint.mask else None
        return make_scene(source, mask, request.inpaint, planned.extent, request.source.resize_mode)

    def _source(self, request: GenerateRequest) -> Image.Image | None:
        return self._picture(request.source.image) if request.source else None

    def _picture(self, blob: BlobId) -> Image.Image:
        return read_picture(self._library.blob(blob), max_pixels=self._settings.max_pixels)

    def _mask(self, blob: BlobId) -> Image.Image:
        return read_mask(self._library.blob(blob), max_pixels=self._settings.max_pixels)

    def _control_map(
        self,
        observer: JobObserver,
        planned: GeneratePlan,
        scene: InpaintScene | None,
        picture: Image.Image,
        entry: ControlInput,
    ) -> tuple[BlobId, Image.Image]:
        assert entry.preprocessor is not None
        side = side_in_frame(picture, planned.first.extent, entry.resize_mode, scene)
        return self._preprocessing.control_map(entry.image, entry.preprocessor.read_at(side), observer)

    def _store(
        self, picture: FinishedPicture, request: GenerateRequest, facts: Future[ModelFacts], job_id: str
    ) -> ImageId:
        record = self._library.add(picture.image, request, facts.result(), index=picture.index, job=job_id)
        return record.id

    def _too_large(self, planned: GeneratePlan) -> OutOfMemory:
        device = self.manager.device
        return OutOfMemory(
            f"{planned.request.batch_size} x {planned.extent} px needs more memory than {device.name} has "
            f"free ({device.free_memory / 2**30:.1f} GB), even with one part of the model at a time.",
            "Choose a smaller size or batch.",
            field="width",
        )
