"""A training course: so many minutes, warming up and cooling down, averaging weights, surviving a kill."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from math import cos, pi
from pathlib import Path

import torch
import torch.distributed as dist
from muon import Muon, split_matrices
from torch import Tensor, nn

CHECKPOINT_SECONDS = 30
LOG_STEPS = 50


def best_device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def mixed_precision(device: torch.device) -> torch.autocast:
    """bfloat16 where it pays; the weights stay float32."""
    return torch.autocast(device.type, dtype=torch.bfloat16)


def team() -> tuple[int, int]:
    """This process's rank and how many there are; joins the others when started by torchrun."""
    if "RANK" in os.environ and not dist.is_initialized():
        dist.init_process_group("gloo")
    return (dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else (0, 1)


def wait() -> None:
    """Until all of the team are here."""
    if dist.is_initialized():
        dist.barrier()


def gather(part: Tensor) -> Tensor:
    """All of what each process did for its share, items[rank::size], in the items' order."""
    size = team()[1]
    if size == 1:
        return part
    parts = [torch.empty_like(part) for _ in range(size)]
    dist.all_gather(parts, part)
    return torch.stack(parts, dim=1).flatten(0, 1)


def clock() -> float:
    """Seconds of work: on CPU this process's own, so that a busy machine costs no training."""
    return time.process_time() / torch.get_num_threads() if best_device().type == "cpu" else time.monotonic()


class Course:
    """Trains `modules` for `minutes` of this machine's work, resuming from `file` where it exists.

    The learning rate follows the clock: a short warm-up, then a cosine down to a hundredth. An exponential
    moving average of the weights is kept along the way; `finish` puts it into the modules. Under torchrun the
    processes average their gradients after every step; on a few cores that beats one process with as many
    threads.
    """

    def __init__(
        self, file: Path, modules: nn.ModuleDict, rates: dict[str, float], minutes: float, ema: float
    ) -> None:
        """rates: the highest learning rate of each module; modules that are not named stay as they are."""
        self.file = file
        self.modules = modules
        self.seconds = minutes * 60
        self.step = 0
        self._spent = 0.0
        self._decay = ema
        self._optimizers = _new_optimizers(modules, rates)
        self._peaks = [[group["lr"] for group in optimizer.param_groups] for optimizer in self._optimizers]
        self._average = {name: value.detach().clone() for name, value in modules.state_dict().items()}
        self._resume()

    @property
    def progress(self) -> float:
        """How much of the time is spent, 0 to 1."""
        return 1.0 if self._spent >= self.seconds else self._spent / self.seconds

    def run(self, loss_of: Callable[[int], dict[str, Tensor]]) -> None:
        """Call `loss_of(step)` until time is up and descend along its `loss`; the other values are logged."""
        if self.progress == 1:
            return
        saved = began = clock()
        shown: dict[str, float] = {}
        while self.progress < 1:
            self._set_rate()
            losses = loss_of(self.step)
            losses["loss"].backward()
            now = clock()
            self._meet(now - began)
            began = now
            self._descend()
            for name, value in losses.items():
                shown[name] = 0.97 * shown.get(name, value.item()) + 0.03 * value.item()
            if self.step % LOG_STEPS == 0:
                self._log(shown)
            if now - saved > CHECKPOINT_SECONDS:
                self.save()
                saved = now
        self.save()

    def finish(self) -> nn.ModuleDict:
        """The modules with averaged weights, ready for use."""
        self.modules.load_state_dict(self._average)
        return self.modules.eval().requires_grad_(False)

    def save(self) -> None:
        if team()[0] > 0:
            return
        self.file.parent.mkdir(parents=True, exist_ok=True)
        part = self.file.with_suffix(".part")
        state = {
            "weights": self.modules.state_dict(),
            "average": self._average,
            "optimizers": [optimizer.state_dict() for optimizer in self._optimizers],
            "step": self.step,
            "spent": self._spent,
        }
        torch.save(state, part)
        part.replace(self.file)

    def _resume(self) -> None:
        if not self.file.exists():
            return
        state = torch.load(self.file, map_location="cpu", weights_only=True)
        self.modules.load_state_dict(state["weights"])
        self._average = {
            name: value.to(self._average[name].device) for name, value in state["average"].items()
        }
        for optimizer, saved in zip(self._optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)
        self.step, self._spent = state["step"], state["spent"]

    def _set_rate(self) -> None:
        warm = min(1.0, (self.step + 1) / 100)
        rate = warm * (0.01 + 0.99 * (1 + cos(pi * self.progress)) / 2)
        for optimizer, peaks in zip(self._optimizers, self._peaks, strict=True):
            for group, peak in zip(optimizer.param_groups, peaks, strict=True):
                group["lr"] = peak * rate

    def _meet(self, elapsed: float) -> None:
        """Add the step's time; in a team, average gradients and times, so that all stay in step."""
        self._spent += elapsed
        if not dist.is_initialized():
            return
        gradients = [parameter.grad for parameter in self.modules.parameters() if parameter.grad is not None]
        shared = torch.cat([torch.tensor([self._spent]), *(gradient.flatten() for gradient in gradients)])
        dist.all_reduce(shared)
        shared /= dist.get_world_size()
        clock, *parts = shared.split([1, *(gradient.numel() for gradient in gradients)])
        for gradient, part in zip(gradients, parts, strict=True):
            gradient.copy_(part.view_as(gradient))
        self._spent = float(clock)

    def _descend(self) -> None:
        nn.utils.clip_grad_norm_(self.modules.parameters(), 1.0)
        for optimizer in self._optimizers:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        self.step += 1
        self._update_average()

    @torch.no_grad()
    def _update_average(self) -> None:
        decay = min(self._decay, (1 + self.step) / (10 + self.step))
        current = self.modules.state_dict()
        floats = [name for name, value in self._average.items() if value.is_floating_point()]
        torch._foreach_lerp_(
            [self._average[name] for name in floats], [current[name] for name in floats], 1 - decay
        )

    def _log(self, shown: dict[str, float]) -> None:
        if team()[0] == 0:
            figures = "  ".join(f"{name} {value:.4f}" for name, value in shown.items())
            pace = self._spent / self.step
            print(
                f"{self.file.stem} {self.progress:6.1%}  step {self.step}  {figures}  {pace:.2f} s a step",
                flush=True,
            )


def _new_optimizers(modules: nn.ModuleDict, rates: dict[str, float]) -> list[torch.optim.Optimizer]:
    """Muon for the matrices, AdamW for the rest, each module at its own rate."""
    matrices: list[dict[str, object]] = []
    rest: list[dict[str, object]] = []
    for name, rate in rates.items():
        for groups, parameters in zip((matrices, rest), split_matrices(modules[name]), strict=True):
            groups.append({"params": parameters, "lr": rate})
    adam = torch.optim.AdamW(rest, betas=(0.9, 0.98), weight_decay=0.0, fused=True)
    return [Muon(matrices, lr=0.0), adam]
