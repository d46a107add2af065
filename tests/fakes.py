"""A Studio without an engine: pictures drawn by PIL, jobs that run on a thread, everything in memory.

`FakeStudio` keeps every promise of `studio.core.protocol` (order of the queue, events, errors with their
field, undo), so that the page and the HTTP API are tested against behaviour, not against mocks.
"""

from __future__ import annotations

import base64
import io
import random
import re
import secrets
import threading
import time
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timezone
from hashlib import sha256
from pathlib import Path

from PIL import Image, ImageDraw, PngImagePlugin, UnidentifiedImageError

from studio.app.masks import check_mask
from studio.app.preprocess_checks import check_control_pictures, check_map_pictures
from studio.app.prompt_tags import networks_in
from studio.core.base import BlobId, ModelId
from studio.core.control_types import ControlType
from studio.core.errors import (
    EaselError,
    ImageError,
    InvalidRequest,
    JobCancelled,
    NotFound,
    PromptError,
    QueueFull,
    UnsafeFile,
)
from studio.core.events import (
    TERMINAL,
    Cancelled,
    Event,
    Failed,
    Finished,
    Log,
    Preview,
    Progress,
    Queued,
    Started,
)
from studio.core.jobs import JobState, JobView
from studio.core.library import Export, ImageId, ImagePage, ImageQuery, ImageRecord, ImportedSettings
from studio.core.models import CatalogueRow, Family, LoadedComponent, ModelInfo, ModelKind, StudioStatus
from studio.core.protocol import PromptNetworks, Studio, TokenCount
from studio.core.requests import GenerateRequest, InstallRequest, JobRequest, PreprocessRequest
from studio.core.samplers import Sampler, schedules_for
from studio.diffusion.plan_boxes import plan_boxes
from studio.storage.infotext import parse_infotext
from studio.storage.pictures import read_mask
from tests.fake_controls import CONTROLS, KINDS, draw_map
from tests.fake_networks import NETWORKS, WITHOUT_PREVIEW

GB = 2**30
ACTIVE = "fake/toytown"

MODELS = (
    ModelInfo(
        id=ACTIVE,
        name="Toytown",
        kind=ModelKind.CHECKPOINT,
        family=Family.SD1,
        layout="diffusers",
        location="models/toytown",
        size_bytes=9_000_000,
        native_size=128,
        licence="Apache-2.0",
        description="Balls, boxes, stars and houses in named colours.",
    ),
    ModelInfo(
        id="fake/large",
        name="Large XL",
        kind=ModelKind.CHECKPOINT,
        family=Family.SDXL,
        layout="ldm",
        location="models/large.safetensors",
        size_bytes=7 * GB,
        native_size=1024,
        licence="OpenRAIL++",
    ),
    ModelInfo(
        id="fake/broken",
        name="Broken",
        kind=ModelKind.CHECKPOINT,
        location="models/broken.safetensors",
        size_bytes=12,
        problem="The file is cut off: its header says 2.1 GB but only 12 bytes are there. Download it again.",
    ),
    ModelInfo(
        id="fake/vae",
        name="Soft VAE",
        kind=ModelKind.VAE,
        family=Family.SD1,
        layout="diffusers",
        location="models/vae",
        size_bytes=335_000_000,
    ),
    ModelInfo(
        id="fake/vae-xl",
        name="XL VAE",
        kind=ModelKind.VAE,
        family=Family.SDXL,
        layout="diffusers",
        location="models/vae-xl",
        size_bytes=335_000_000,
    ),
    *NETWORKS,
    *CONTROLS,
)

CATALOGUE = (
    CatalogueRow(
        id="sd15",
        name="Stable Diffusion 1.5",
        kind=ModelKind.CHECKPOINT,
        family=Family.SD1,
        install=InstallRequest(repo="fake-org/sd15"),
        size_bytes=4 * GB,
        licence="CreativeML OpenRAIL-M",
        description="The classic; most adapters are made for it.",
    ),
    CatalogueRow(
        id="taesd",
        name="TAESD",
        kind=ModelKind.VAE,
        family=Family.SD1,
        install=InstallRequest(repo="fake-org/taesd"),
        size_bytes=10_000_000,
        licence="MIT",
        description="A tiny VAE for previews.",
    ),
)

CATALOGUE += tuple(
    CatalogueRow(
        id=slug,
        name=name,
        kind=kind,
        family=family,
        install=InstallRequest(repo=f"fake-org/{slug}"),
        size_bytes=GB,
        licence="MIT",
        description=f"{name}, as the real one would be described.",
        controls=controls,
        needs=needs,
    )
    for slug, name, kind, family, controls, needs in (
        ("pose", "ControlNet 1.1 OpenPose", ModelKind.CONTROLNET, Family.SD1, (ControlType.OPENPOSE,), ()),
        ("look", "IP-Adapter", ModelKind.IP_ADAPTER, Family.SD1, (), ("eye",)),
        ("eye", "CLIP ViT-H", ModelKind.CLIP_VISION, Family.UNKNOWN, (), ()),
    )
)

_STACKED_KINDS = {
    "loras": (ModelKind.LORA,),
    "hypernetworks": (ModelKind.HYPERNETWORK,),
    **KINDS,
}

_BLOCK = 100
"""Progress units of a fake download."""


@dataclass
class _Job:
    view: JobView
    events: list[Event] = field(default_factory=list)
    count: int = 0
    cancelled: bool = False


def _now() -> datetime:
    return datetime.now(timezone.utc)


def draw(prompt: str, seed: int, width: int, height: int, share: float = 1.0) -> Image.Image:
    """Coloured shapes that depend on prompt and seed only; `share` of them drawn."""
    rng = random.Random(f"{prompt}|{seed}")
    picture = Image.new("RGB", (width, height), f"hsl({rng.randrange(360)}, 35%, 78%)")
    pen = ImageDraw.Draw(picture)
    for _ in range(round(9 * share)):
        x, y, r = rng.random() * width, rng.random() * height, (0.08 + rng.random() / 5) * min(width, height)
        colour = f"hsl({rng.randrange(360)}, {50 + rng.randrange(35)}%, {40 + rng.randrange(25)}%)"
        shape = rng.choice((pen.ellipse, pen.rectangle))
        shape((x - r, y - r, x + r, y + r), fill=colour)
    return picture


@dataclass(frozen=True)
class Installed:
    """Models as the planning code looks them up."""

    all_models: Sequence[ModelInfo]

    def find(self, name: str) -> ModelInfo:
        found = next((model for model in self.all_models if name in (model.id, model.name)), None)
        if found is None:
            raise NotFound(f"There is no model {name!r} here.", "Choose one from the list.")
        return found

    def models(self, kind: ModelKind) -> tuple[ModelInfo, ...]:
        return tuple(model for model in self.all_models if model.kind is kind)

    def named(self, name: str, kind: ModelKind) -> tuple[ModelInfo, ...]:
        return tuple(model for model in self.models(kind) if model.name.lower() == name.lower())


class FakeStudio:
    """Args:
    data_dir: where pictures are written, as `outputs/` and `thumbnails/`.
    step_seconds: how long one step of a job takes.
    ready: whether torch counts as loaded.
    max_queue: jobs that may wait.
    """

    def __init__(
        self, data_dir: Path, *, step_seconds: float = 0.02, ready: bool = True, max_queue: int = 50
    ) -> None:
        self.data_dir = data_dir
        self.step_seconds = step_seconds
        self.ready = ready
        self.max_queue = max_queue
        self.fail_next: EaselError | None = None
        """The next generation raises this after its second step."""
        self.notes: tuple[str, ...] = ()
        """What every generation tells while it runs."""
        self.fail_map: EaselError | None = None
        """While it is set, no control map can be made."""
        self.active_model: ModelId = ACTIVE
        self._catalogue: dict[str, CatalogueRow] = {row.id: row for row in CATALOGUE}
        self._downloaded: dict[str, int] = {}
        self._components: tuple[LoadedComponent, ...] = ()
        self._blobs: dict[BlobId, bytes] = {}
        self.model_list: list[ModelInfo] = [self._with_preview(model) for model in MODELS]
        self._images: dict[ImageId, ImageRecord] = {}
        self._trash: dict[str, list[ImageRecord]] = {}
        self._jobs: dict[str, _Job] = {}
        self._changed = threading.Condition(threading.RLock())
        self._closing = False
        self._worker = threading.Thread(target=self._work, name="fake-gpu", daemon=True)

    # ------------------------------------------------------------------ life

    def start(self) -> None:
        if not self._worker.is_alive():
            self._worker.start()

    def close(self) -> None:
        with self._changed:
            self._closing = True
            for job in self._jobs.values():
                job.cancelled = job.cancelled or job.view.state is JobState.RUNNING
            self._changed.notify_all()
        if self._worker.is_alive():
            self._worker.join(timeout=5)

    def status(self) -> StudioStatus:
        used = sum(component.size_bytes for component in self._components)
        waiting = [job for job in self._jobs.values() if job.view.state is JobState.QUEUED]
        return StudioStatus(
            ready=self.ready,
            message="" if self.ready else "Loading torch. Jobs can already be queued.",
            device="cpu",
            device_name="A fake processor",
            precision="fp32",
            memory_used=used,
            memory_budget=8 * GB,
            memory_total=12 * GB,
            memory_free=12 * GB - used,
            ram_used=3 * GB,
            ram_total=24 * GB,
            active_model=self.active_model,
            components=self._components,
            notes=("Freed 120 MB: Soft VAE was not used for a while.",) if self._components else (),
            queue_length=len(waiting),
        )

    # ------------------------------------------------------------------ jobs

    def submit(self, request: JobRequest, *, job_id: str | None = None) -> JobView:
        if isinstance(request, GenerateRequest):
            request = self._planned(request)
        elif isinstance(request, PreprocessRequest):
            check_map_pictures(request.image, request.preprocessor, self._open_blob)
        with self._changed:
            waiting = self._waiting()
            if len(waiting) >= self.max_queue:
                raise QueueFull(f"{len(waiting)} jobs are waiting already.", "Wait for one, or cancel some.")
            view = JobView(
                id=job_id or secrets.token_hex(8),
                state=JobState.QUEUED,
                request=request,
                created=_now(),
                position=len(waiting) + len(self._running()),
            )
            self._jobs[view.id] = job = _Job(view)
            self._tell(job, Queued(position=view.position or 0))
            return view

    def job(self, job_id: str) -> JobView:
        with self._changed:
            return self._view(self._find(job_id))

    def jobs(self, limit: int = 50) -> tuple[JobView, ...]:
        with self._changed:
            ended = [job for job in self._jobs.values() if job.view.is_over]
            ended.sort(key=lambda job: job.view.ended or job.view.created, reverse=True)
            return tuple(self._view(job) for job in (*self._running(), *self._waiting(), *ended)[:limit])

    def events(self, job_id: str, after: int = 0, timeout: float | None = None) -> Iterator[Event]:
        job = self._find(job_id)
        deadline = None if timeout is None else time.monotonic() + timeout
        while True:
            with self._changed:
                fresh = [event for event in job.events if event.number > after]
                if not fresh:
                    left = None if deadline is None else deadline - time.monotonic()
                    if left is not None and left <= 0:
                        return
                    self._changed.wait(left)
                    continue
            for event in fresh:
                yield event
                after = event.number
                if isinstance(event, TERMINAL):
                    return

    def preview(self, job_id: str) -> Preview | None:
        job = self._find(job_id)
        return next((event for event in reversed(job.events) if isinstance(event, Preview)), None)

    def cancel(self, job_id: str) -> JobView:
        with self._changed:
            job = self._find(job_id)
            job.cancelled = True
            if job.view.state is JobState.QUEUED:
                self._end(job, JobState.CANCELLED, Cancelled())
            return self._view(job)

    def set_dismissed(self, job_id: str, dismissed: bool) -> JobView:
        with self._changed:
            job = self._find(job_id)
            if not job.view.is_over:
                raise InvalidRequest("This job has not ended yet.", "Cancel it first.", field="dismissed")
            job.view = job.view.model_copy(update={"dismissed": dismissed})
            return job.view

    def interrupt(self, job_id: str) -> None:
        """Leave a waiting job as the end of the program would have left it while it ran."""
        with self._changed:
            job = self._find(job_id)
            job.cancelled = True
            self._end(job, JobState.INTERRUPTED, Cancelled())

    def retry(self, job_id: str) -> JobView:
        return self.submit(self._find(job_id).view.request)

    # ------------------------------------------------------------------ library

    def put_blob(self, data: bytes) -> BlobId:
        _open(data)
        blob_id = sha256(data).hexdigest()
        self._blobs[blob_id] = data
        return blob_id

    def blob(self, blob_id: BlobId) -> bytes:
        if blob_id not in self._blobs:
            raise NotFound("This picture is not stored here.", "Upload it again.")
        return self._blobs[blob_id]

    def images(self, query: ImageQuery | None = None) -> ImagePage:
        query = query or ImageQuery()
        found = [image for image in reversed(self._images.values()) if _matches(image, query)]
        return ImagePage(images=tuple(found[query.offset : query.offset + query.limit]), total=len(found))

    def image(self, image_id: ImageId) -> ImageRecord:
        if image_id not in self._images:
            raise NotFound("This image is not in the library.", "It may have been deleted; try undo.")
        return self._images[image_id]

    def image_path(self, image_id: ImageId) -> Path:
        image = self.image(image_id)
        return self.data_dir / "outputs" / f"{image.id}.{image.request.output.format}"

    def thumbnail_path(self, image_id: ImageId) -> Path:
        path = self.data_dir / "thumbnails" / f"{self.image(image_id).id}.webp"
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            with Image.open(self.image_path(image_id)) as picture:
                picture.thumbnail((256, 256))
                picture.save(path)
        return path

    def set_favourite(self, image_id: ImageId, favourite: bool) -> ImageRecord:
        changed = self.image(image_id).model_copy(update={"favourite": favourite})
        self._images[image_id] = changed
        return changed

    def delete_images(self, image_ids: Sequence[ImageId]) -> str:
        token = secrets.token_hex(8)
        images = [self.image(image_id) for image_id in image_ids]
        self._trash[token] = [self._images.pop(image.id) for image in images]
        return token

    def undo_delete(self, token: str) -> tuple[ImageId, ...]:
        if token not in self._trash:
            raise NotFound("Nothing to bring back: this deletion was undone already.")
        back = self._trash.pop(token)
        everything = [*self._images.values(), *back]
        self._images = {image.id: image for image in sorted(everything, key=lambda image: image.created)}
        return tuple(image.id for image in back)

    def export_images(self, image_ids: Sequence[ImageId]) -> Export:
        path = self.data_dir / "outputs" / f"easel-{secrets.token_hex(4)}.zip"
        path.parent.mkdir(parents=True, exist_ok=True)
        with zipfile.ZipFile(path, "w") as archive:
            for image_id in image_ids:
                archive.write(self.image_path(image_id), self.image_path(image_id).name)
        return Export(path=path, count=len(image_ids))

    def read_settings(self, data: bytes) -> ImportedSettings:
        info = _open(data).info
        if "easel" in info:
            request = GenerateRequest.model_validate_json(info["easel"])
            text = info.get("parameters", "")
            told = parse_infotext(text).parameters
            return ImportedSettings(request=request, source="Easel", infotext=text, parameters=told)
        if "parameters" in info:
            return self.read_infotext(info["parameters"])
        raise InvalidRequest("This picture carries no settings.", "Choose one that was saved by a studio.")

    def read_infotext(self, text: str) -> ImportedSettings:
        *lines, last = text.strip().split("\n")
        pairs = dict(re.findall(r"(?:^|, )([A-Z][\w ]+): ([^,]+)", last))
        if len(pairs) < 3:
            raise InvalidRequest("No generation parameters were found.", "Paste the whole text.")
        prompt, _, negative = "\n".join(lines).partition("Negative prompt: ")
        width, _, height = pairs.get("Size", "512x512").partition("x")
        names = {"Steps", "Sampler", "CFG scale", "Seed", "Size"}
        request = GenerateRequest(
            prompt=prompt.strip(),
            negative_prompt=negative.strip(),
            steps=int(pairs.get("Steps", 20)),
            sampler=Sampler(pairs.get("Sampler", Sampler.EULER)),
            guidance_scale=float(pairs.get("CFG scale", 7)),
            seed=int(pairs.get("Seed", -1)),
            width=int(width),
            height=int(height),
        )
        warnings = tuple(
            f"{name} was left out: Easel has no such setting." for name in pairs if name not in names
        )
        return ImportedSettings(
            request=request,
            source="AUTOMATIC1111",
            infotext=text,
            parameters=parse_infotext(text).parameters,
            warnings=warnings,
        )

    # ------------------------------------------------------------------ models

    def models(self, kind: ModelKind | None = None) -> tuple[ModelInfo, ...]:
        return tuple(model for model in self.model_list if kind is None or model.kind is kind)

    def refresh_models(self) -> tuple[ModelInfo, ...]:
        return self.models()

    def catalogue(self) -> tuple[CatalogueRow, ...]:
        return tuple(self._catalogue.values())

    def add_models_dir(self, path: Path) -> tuple[ModelInfo, ...]:
        if not path.is_dir():
            raise InvalidRequest(f"There is no folder {path}.", "Give the full path of one.", field="path")
        self.model_list += [
            ModelInfo(id=f"added/{file.stem}", name=file.stem, kind=ModelKind.CHECKPOINT, location=str(file))
            for file in sorted(path.glob("*.safetensors"))
        ]
        return self.models()

    def import_model(self, path: Path, name: str = "") -> ModelInfo:
        if path.suffix != ".safetensors":
            raise UnsafeFile(f"{path.name} can hold code.", "Use a .safetensors file of the same model.")
        model = ModelInfo(
            id=f"imported/{path.stem}",
            name=name or path.stem,
            kind=ModelKind.CHECKPOINT,
            size_bytes=path.stat().st_size,
        )
        self.model_list.append(model)
        return model

    def activate(self, model_id: ModelId) -> ModelInfo:
        model = self._usable(model_id, [ModelKind.CHECKPOINT], "model")
        self.active_model = model.id
        return model

    def unload_models(self) -> None:
        self._components = ()

    def count_tokens(
        self, prompt: str, model_id: ModelId = "", loras: Sequence[ModelId] = ()
    ) -> TokenCount | None:
        if not self.ready:
            return None
        _check_brackets(prompt)
        tokens = len(re.findall(r"\w+|[^\w\s]", prompt))
        on = (model for model in self.models() if model.id in loras)
        tokens += sum(word in prompt for model in on for word in model.bundled_words) * 10
        return TokenCount(tokens=tokens, limit=75 * max(1, -(-tokens // 75)))

    def network_tags(self, prompt: str) -> PromptNetworks:
        return networks_in(prompt, self._named)

    # ------------------------------------------------------------------ for tests

    def become_ready(self) -> None:
        """Torch counts as loaded from now on."""
        with self._changed:
            self.ready = True
            self._changed.notify_all()

    def add_image(
        self, request: GenerateRequest, *, created: datetime | None = None, job: str = ""
    ) -> ImageRecord:
        """Draw and store the picture of `request`."""
        record = ImageRecord(
            id=secrets.token_hex(8),
            created=created or _now(),
            width=request.width,
            height=request.height,
            seed=request.seed,
            model=next((model.name for model in self.model_list if model.id == request.model), "Toytown"),
            prompt=request.prompt,
            negative_prompt=request.negative_prompt,
            request=request,
            infotext=_infotext(request),
            job=job,
            media_type=f"image/{request.output.format}",
        )
        path = self.data_dir / "outputs" / f"{record.id}.{request.output.format}"
        path.parent.mkdir(parents=True, exist_ok=True)
        info = PngImagePlugin.PngInfo()
        info.add_text("easel", request.model_dump_json())
        info.add_text("parameters", record.infotext)
        self._picture(request).save(path, pnginfo=info)
        record = record.model_copy(update={"size_bytes": path.stat().st_size})
        self._images[record.id] = record
        return record

    # ------------------------------------------------------------------ inside

    def _picture(self, request: GenerateRequest) -> Image.Image:
        """What the prompt says; of an inpainting, only where the mask is light."""
        drawn = draw(request.prompt, request.seed, request.width, request.height)
        if request.inpaint is None or request.inpaint.mask is None or request.source is None:
            return drawn
        photo, mask = _open(self.blob(request.source.image)), self._mask(request.inpaint.mask)
        painted = photo.convert("RGB").resize(drawn.size)
        painted.paste(drawn, (0, 0), mask.resize(drawn.size))
        return painted

    def _open_blob(self, blob_id: BlobId) -> Image.Image:
        return _open(self.blob(blob_id))

    def _mask(self, blob_id: BlobId) -> Image.Image:
        return read_mask(self.blob(blob_id), max_pixels=2**26)

    def _named(self, name: str, kind: ModelKind) -> ModelInfo:
        found = next((model for model in self.models(kind) if model.name.lower() == name.lower()), None)
        if found is None:
            raise NotFound(f"There is no {kind} named {name!r} here.", "Choose one from the list.")
        return found

    def _usable(self, model_id: ModelId, kinds: Sequence[ModelKind], at: str) -> ModelInfo:
        model = next((each for each in self.model_list if each.kind in kinds and each.id == model_id), None)
        if model is None:
            wanted = f"There is no {kinds[0]} called {model_id!r}."
            raise NotFound(wanted, "Choose one of the list.", field=at)
        if not model.usable:
            raise InvalidRequest(model.problem, field=at)
        return model

    def _planned(self, request: GenerateRequest) -> GenerateRequest:
        model = self._usable(request.model or self.active_model, [ModelKind.CHECKPOINT], "model")
        if request.vae:
            vae = self._usable(request.vae, [ModelKind.VAE], "vae")
            if vae.family is not model.family:
                raise InvalidRequest(
                    f"The VAE {vae.name} is for {vae.family}, but {model.name} is {model.family}.",
                    f"Choose a VAE for {model.family}, or the checkpoint's own.",
                    field="vae",
                )
        if request.schedule not in schedules_for(request.sampler):
            raise InvalidRequest(
                f"{request.sampler} cannot follow the {request.schedule} schedule.",
                "Choose another schedule, or Automatic.",
                field="schedule",
            )
        _check_brackets(request.prompt)
        self._check_stack(request, model)
        plan_boxes(request, model, Installed(self.models()))
        for blob_id in request.blobs:
            self.blob(blob_id)
        check_mask(request, lambda blob_id: _open(self.blob(blob_id)), self._mask)
        seed = random.randrange(2**32) if request.seed < 0 else request.seed
        return request.model_copy(update={"model": model.id, "seed": seed})

    def _check_stack(self, request: GenerateRequest, checkpoint: ModelInfo) -> None:
        for field_name, kinds in _STACKED_KINDS.items():
            for number, entry in enumerate(getattr(request, field_name)):
                at = f"{field_name}.{number}.model"
                network = self._usable(entry.model, kinds, at) if entry.enabled else None
                if network and network.family is not checkpoint.family:
                    raise InvalidRequest(
                        f"{network.name} is for {network.family}, but {checkpoint.name} is"
                        f" {checkpoint.family}.",
                        f"Choose one for {checkpoint.family}, or switch it off.",
                        field=at,
                    )
        check_control_pictures(request, self._open_blob)

    def _with_preview(self, model: ModelInfo) -> ModelInfo:
        if model not in NETWORKS or model.id in WITHOUT_PREVIEW:
            return model
        buffer = io.BytesIO()
        draw(model.name, 0, 256, 256).save(buffer, "PNG")
        return model.model_copy(update={"preview": self.put_blob(buffer.getvalue())})

    def _find(self, job_id: str) -> _Job:
        if job_id not in self._jobs:
            raise NotFound("There is no such job.", "The queue lists those that are there.")
        return self._jobs[job_id]

    def _waiting(self) -> list[_Job]:
        return [job for job in self._jobs.values() if job.view.state is JobState.QUEUED]

    def _running(self) -> list[_Job]:
        return [job for job in self._jobs.values() if job.view.state is JobState.RUNNING]

    def _view(self, job: _Job) -> JobView:
        if job.view.state is not JobState.QUEUED:
            return job.view
        ahead = len(self._running()) + self._waiting().index(job)
        return job.view.model_copy(update={"position": ahead})

    def _tell(self, job: _Job, event: Event) -> None:
        """Number `event` and keep it; of progress and previews only the newest stays."""
        with self._changed:
            job.count += 1
            if isinstance(event, Progress | Preview):
                job.events = [old for old in job.events if type(old) is not type(event)]
            job.events.append(event.model_copy(update={"number": job.count}))
            if isinstance(event, Progress):
                job.view = job.view.model_copy(update={"progress": event, "seconds_left": event.seconds_left})
            if isinstance(event, Log):
                job.view = job.view.model_copy(update={"notes": (*job.view.notes, event.message)})
            self._changed.notify_all()

    def _end(self, job: _Job, state: JobState, event: Event) -> None:
        with self._changed:
            failure = event if isinstance(event, Failed) else None
            job.view = job.view.model_copy(
                update={
                    "state": state,
                    "ended": _now(),
                    "position": None,
                    "seconds_left": None,
                    "blobs": event.blobs if isinstance(event, Finished) else (),
                    "failure": failure,
                }
            )
            self._tell(job, event)

    def _work(self) -> None:
        while job := self._next():
            self._tell(job, Started())
            try:
                finished = self._run(job)
            except JobCancelled:
                self._end(job, JobState.CANCELLED, Cancelled())
            except EaselError as error:
                self._end(job, JobState.FAILED, Failed.by(error))
            else:
                self._end(job, JobState.FINISHED, finished)

    def _next(self) -> _Job | None:
        with self._changed:
            self._changed.wait_for(lambda: self._closing or (self.ready and self._waiting()))
            if self._closing:
                return None
            job = self._waiting()[0]
            job.view = job.view.model_copy(
                update={"state": JobState.RUNNING, "started": _now(), "position": None}
            )
            return job

    def _run(self, job: _Job) -> Finished:
        request = job.view.request
        if isinstance(request, InstallRequest):
            self._download(job, request)
            return Finished(seconds=1.0)
        if isinstance(request, PreprocessRequest):
            self._step(job, "Making the map", 1, 1)
            if self.fail_map:
                raise self.fail_map
            made = draw_map(self.blob(request.image), request.preprocessor)
            return Finished(blobs=(self.put_blob(made),), seconds=1.0)
        for note in self.notes:
            self._tell(job, Log(message=note))
        for batch in range(request.batches):
            self._batch(job, request, batch)
        return Finished(images=job.view.images, blobs=self._maps(request), seconds=1.0)

    def _maps(self, request: GenerateRequest) -> tuple[BlobId, ...]:
        """Of each control that is on."""
        controls = [control for control in request.controls if control.enabled]
        return tuple(
            self.put_blob(draw_map(self.blob(control.image), control.preprocessor))
            if control.preprocessor
            else control.image
            for control in controls
        )

    def _batch(self, job: _Job, request: GenerateRequest, batch: int) -> None:
        first = request.seed + batch * request.batch_size
        for step in range(1, request.steps + 1):
            self._step(job, "Denoising", step, request.steps, batch)
            if self.fail_next and step > 1:
                error, self.fail_next = self.fail_next, None
                raise error
            self._tell(job, Preview(jpeg=_jpeg(request, first, step / request.steps), step=step))
        self._components = (
            LoadedComponent(role="unet", model="Toytown", size_bytes=GB, device="cpu"),
            LoadedComponent(role="vae", model="Toytown", size_bytes=GB // 4, device="cpu"),
        )
        alone = {"batch_size": 1, "batches": 1}
        for i in range(request.batch_size):
            image = self.add_image(request.model_copy(update={**alone, "seed": first + i}), job=job.view.id)
            with self._changed:
                job.view = job.view.model_copy(update={"images": (*job.view.images, image.id)})

    def _download(self, job: _Job, request: InstallRequest) -> None:
        for block in range(self._downloaded.get(request.repo, 0) + 1, _BLOCK + 1):
            self._step(job, "Downloading", block * 10_000_000, _BLOCK * 10_000_000)
            self._downloaded[request.repo] = block
        row = next((row for row in self._catalogue.values() if row.install == request), None)
        name, kind = (row.name, row.kind) if row else (request.repo, ModelKind.CHECKPOINT)
        family = row.family if row else Family.SD1
        if row:
            self._catalogue[row.id] = row.model_copy(update={"installed": True})
        self.model_list.append(ModelInfo(id=request.repo, name=name, kind=kind, family=family, size_bytes=GB))

    def _step(self, job: _Job, phase: str, done: int, total: int, image: int = 0) -> None:
        time.sleep(self.step_seconds)
        if job.cancelled:
            raise JobCancelled
        left = (total - done) / max(1, done) * self.step_seconds * done
        self._tell(job, Progress(phase=phase, done=done, total=total, seconds_left=left, image=image))


def _open(data: bytes) -> Image.Image:
    with suppress(UnidentifiedImageError, OSError, Image.DecompressionBombError):
        picture = Image.open(io.BytesIO(data))
        picture.load()
        return picture
    raise ImageError("The file is no picture.", "Choose a PNG, JPEG or WebP.")


def _check_brackets(prompt: str) -> None:
    if prompt.count("(") > prompt.count(")"):
        at = prompt.rindex("(")
        raise PromptError("The bracket ( is never closed.", "Add a ).", position=at)


def _jpeg(request: GenerateRequest, seed: int, share: float) -> str:
    buffer = io.BytesIO()
    strip = Image.new("RGB", (64 * request.batch_size, 64))
    for i in range(request.batch_size):
        strip.paste(draw(request.prompt, seed + i, 64, 64, share), (64 * i, 0))
    strip.save(buffer, "JPEG", quality=60)
    return base64.b64encode(buffer.getvalue()).decode()


def _infotext(request: GenerateRequest) -> str:
    negative = f"\nNegative prompt: {request.negative_prompt}" if request.negative_prompt else ""
    return (
        f"{request.prompt}{negative}\nSteps: {request.steps}, Sampler: {request.sampler}, "
        f"CFG scale: {request.guidance_scale:g}, Seed: {request.seed}, Size: {request.extent}"
    )


def _matches(image: ImageRecord, query: ImageQuery) -> bool:
    text = f"{image.prompt} {image.negative_prompt}".lower()
    day = image.created.date()
    return (
        all(word in text for word in query.text.lower().split())
        and query.model in ("", image.model)
        and (query.since is None or day >= query.since)
        and (query.until is None or day <= query.until)
        and (image.favourite or not query.favourites)
        and query.job in ("", image.job)
    )


def as_studio(fake: FakeStudio) -> Studio:
    """The type checker's proof that the fake keeps the protocol."""
    return fake
