"""The training loop: network, objective, AdamW with a one-cycle schedule, averaged weights, resumable after every epoch."""

from __future__ import annotations

import csv
import json
import logging
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from CLIPLungLib.device import autocast, choose_device
from CLIPLungLib.errors import InputError
from CLIPLungLib.lidc.prepare import PreparedViews
from CLIPLungLib.lidc.table import LidcNodule
from CLIPLungLib.model.network import CLIPLungNetwork
from CLIPLungLib.model.objective import CLIPLungObjective, Targets
from CLIPLungLib.model.text_encoder import TextEncoder, build_text_encoder
from CLIPLungLib.training.batches import Batch, TrainingSet
from CLIPLungLib.training.config import TrainConfig
from CLIPLungLib.training.state import load_state, save_state

logger = logging.getLogger(__name__)
STATE_NAME, LOG_NAME, CONFIG_NAME = "state.safetensors", "log.csv", "config.json"


class Trainer:
    """One run in one folder.

    Args:
        config: settings.
        views, nodules: the prepared data.
        folder: where log and state go; a state found there is continued.
        device: "auto", "cpu", "cuda" or "cuda:N".
        text_encoder: built from the configuration unless given.
    """

    def __init__(
        self,
        config: TrainConfig,
        views: PreparedViews,
        nodules: Sequence[LidcNodule],
        folder: Path,
        device: str = "auto",
        text_encoder: TextEncoder | None = None,
    ) -> None:
        torch.manual_seed(config.seed)
        self.config, self.folder = config, folder
        self.device = choose_device(device)
        self.data = TrainingSet(views, nodules, config)
        encoder = text_encoder or build_text_encoder(config.text_encoder)
        if encoder.dim != config.network.text_dim:
            raise InputError(
                f"The text encoder {encoder.name} makes features of {encoder.dim} numbers, the network's text_dim is "
                f"{config.network.text_dim}. Set network.text_dim to {encoder.dim}."
            )
        self.network = CLIPLungNetwork(config.network).to(self.device, memory_format=torch.channels_last)
        self.objective = CLIPLungObjective(encoder, config.network.groups, config.losses, config.conditioned_texts).to(
            self.device
        )
        self.average = AveragedModel(
            self.network, multi_avg_fn=get_ema_multi_avg_fn(config.ema_decay), use_buffers=True
        )
        self.optimizer = torch.optim.AdamW(self._parameter_groups(), lr=config.learning_rate)
        self.total_steps = config.epochs * self.data.steps()
        self.epochs_done = 0
        self._prepare_folder()

    def run(self, progress: Callable[[int, int], None] | None = None) -> CLIPLungNetwork:
        """Train to the last epoch; returns the network with averaged weights, in evaluation mode."""
        for epoch in range(self.epochs_done, self.config.epochs):
            started = time.monotonic()
            means = self._epoch(epoch)
            self.epochs_done = epoch + 1
            self._log(epoch, means, time.monotonic() - started)
            save_state(self.folder / STATE_NAME, self._modules(), self.optimizer, {"epochs_done": self.epochs_done})
            if progress:
                progress(self.epochs_done, self.config.epochs)
        return self.average.module.eval()

    def _epoch(self, epoch: int) -> dict[str, float]:
        self.network.train()
        self.objective.train()
        # Dropout is part of what a resumed run must repeat.
        torch.manual_seed(self.config.seed * 100_003 + epoch)
        sums: dict[str, float] = {}
        for step, batch in enumerate(self.data.epoch(epoch)):
            self._set_learning_rate(epoch * self.data.steps() + step)
            for name, value in self._step(batch).items():
                sums[name] = sums.get(name, 0.0) + value
        return {name: value / self.data.steps() for name, value in sums.items()}

    def _step(self, batch: Batch) -> dict[str, float]:
        targets = Targets(**{name: value.to(self.device) for name, value in vars(batch.targets).items()})
        with autocast(self.device):
            output = self.network(batch.planes.to(self.device), batch.exists.to(self.device))
            terms = self.objective(output, targets)
        self.optimizer.zero_grad(set_to_none=True)
        terms["total"].backward()
        nn.utils.clip_grad_norm_([p for group in self.optimizer.param_groups for p in group["params"]], 5.0)
        self.optimizer.step()
        self.average.update_parameters(self.network)
        return {name: value.item() for name, value in terms.items()}

    def _set_learning_rate(self, step: int) -> None:
        """One cycle: rise over the first fifth, then fall along a cosine to zero."""
        done = step / self.total_steps
        rise = min(1.0, 0.05 + done / 0.2)
        fall = 0.5 * (1 + torch.cos(torch.tensor(torch.pi * max(0.0, (done - 0.2) / 0.8))).item())
        for group in self.optimizer.param_groups:
            group["lr"] = self.config.learning_rate * rise * fall

    def _parameter_groups(self) -> list[dict]:
        """Weight decay for matrices and kernels only: norms, biases, prompts' context and tau must not shrink to zero."""
        learned = [p for module in (self.network, self.objective) for p in module.parameters() if p.requires_grad]
        return [
            {"params": [p for p in learned if p.ndim > 1], "weight_decay": self.config.weight_decay},
            {"params": [p for p in learned if p.ndim <= 1], "weight_decay": 0.0},
        ]

    def _modules(self) -> dict[str, nn.Module]:
        return {"network": self.network, "average": self.average, "objective": self.objective}

    def _prepare_folder(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        state = self.folder / STATE_NAME
        if state.is_file():
            self.epochs_done = load_state(state, self._modules(), self.optimizer)["epochs_done"]
            logger.info("continuing after epoch %d of %d", self.epochs_done, self.config.epochs)
        (self.folder / CONFIG_NAME).write_text(json.dumps(self.config.to_dict(), indent=2), encoding="utf-8")

    def _log(self, epoch: int, means: dict[str, float], seconds: float) -> None:
        row = {"epoch": epoch, "seconds": round(seconds, 1)} | {name: round(value, 5) for name, value in means.items()}
        file = self.folder / LOG_NAME
        is_new = not file.is_file()
        with file.open("a", newline="", encoding="utf-8") as stream:
            writer = csv.DictWriter(stream, row)
            if is_new:
                writer.writeheader()
            writer.writerow(row)
        logger.info("%s", row)
