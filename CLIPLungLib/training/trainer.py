"""The training loop: network, objective, AdamW with a one-cycle schedule, averaged weights, resumable after every epoch.

Several processes (`joined_processes`) share every batch and compute together what one would; only the first of them writes files.
"""

from __future__ import annotations

import copy
import json
import logging
import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from CLIPLungLib.atomic_write import atomic_write
from CLIPLungLib.device import autocast, choose_device
from CLIPLungLib.errors import InputError
from CLIPLungLib.evaluation.metrics import spearman
from CLIPLungLib.lidc.nodule_table import LidcNodule
from CLIPLungLib.lidc.training_patches import TrainingPatches
from CLIPLungLib.model.network import CLIPLungNetwork
from CLIPLungLib.model.text_encoder import TextEncoder, build_text_encoder
from CLIPLungLib.training.batches import Batch, TrainingSet
from CLIPLungLib.training.config import TrainConfig
from CLIPLungLib.training.log import log_epoch
from CLIPLungLib.training.objective import CLIPLungObjective, Targets
from CLIPLungLib.training.parallel import (
    average_gradients,
    process_count,
    process_rank,
    said_by_first,
    share_batch_statistics,
    sizes_of_processes,
    summed_over_processes,
)
from CLIPLungLib.training.predict import Predictions, one_view_per_nodule, predict_views
from CLIPLungLib.training.run_state import load_state, remove_leftovers, save_state

logger = logging.getLogger(__name__)
# The epoch is chosen among this last share of them: earlier the averaged weights still lag behind.
CHOICE_SHARE = 0.3
STATE_NAME, CONFIG_NAME = "state.safetensors", "config.json"


class Trainer:
    """One run in one folder.

    Args:
        config: settings.
        views, nodules: the prepared data.
        folder: where log and state go; a state found there is continued.
        device: "auto", "cpu", "cuda" or "cuda:N"; with several processes the one that `joined_processes` gave.
        text_encoder: built from the configuration unless given.

    Raises:
        InputError: the text encoder and the network differ in size, or a process would have no patch of a batch.
        CheckpointError: the state in the folder is damaged or of another network.
    """

    def __init__(
        self,
        config: TrainConfig,
        views: TrainingPatches,
        nodules: Sequence[LidcNodule],
        folder: Path,
        device: str | torch.device = "auto",
        text_encoder: TextEncoder | None = None,
    ) -> None:
        torch.manual_seed(config.seed)
        self.config, self.folder = config, folder
        self.device = choose_device(str(device))
        self.views = views
        self.data = TrainingSet(views, nodules, config)
        self.data.require_patches_for(process_count())
        encoder = text_encoder or build_text_encoder(config.text_encoder)
        if encoder.dim != config.network.text_dim:
            raise InputError(
                f"The text encoder {encoder.name} makes features of {encoder.dim} numbers, the network's text_dim is "
                f"{config.network.text_dim}. Set network.text_dim to {encoder.dim}."
            )
        self.network = CLIPLungNetwork(config.network).to(self.device, memory_format=torch.channels_last)
        self.objective = CLIPLungObjective(
            encoder, config.network.groups, config.losses, config.conditioned_texts, config.text_interval
        ).to(self.device)
        share_batch_statistics(self.network)
        self.average = AveragedModel(
            self.network, multi_avg_fn=get_ema_multi_avg_fn(config.ema_decay), use_buffers=True
        )
        self.optimizer = torch.optim.AdamW(self._parameter_groups(), lr=config.learning_rate)
        self.learned = [p for group in self.optimizer.param_groups for p in group["params"]]
        self.total_steps = config.epochs * self.data.steps()
        self.epochs_done = 0
        self._seconds: list[float] = []  # of the epochs since this run was started or continued
        self.best = copy.deepcopy(self.average)
        self.best_text = copy.deepcopy(self.objective.bank)
        self.best_score = -math.inf
        self._prepare_folder()

    def run(self, progress: Callable[[int, int], None] | None = None) -> CLIPLungNetwork:
        """Train to the last epoch; returns the averaged weights of the best epoch, in evaluation mode.

        Args:
            progress: called by the first process after every epoch, with the epochs done and all of them.
        """
        for epoch in range(self.epochs_done, self.config.epochs):
            started = time.monotonic()
            means = self._epoch(epoch)
            self.epochs_done = epoch + 1
            means |= self._keep_best(epoch)
            if process_rank() == 0:
                self._write(epoch, {"seconds": time.monotonic() - started} | means)
                if progress:
                    progress(self.epochs_done, self.config.epochs)
        self.objective.bank.load_state_dict(self.best_text.state_dict())
        return self.best.module.eval()

    def _keep_best(self, epoch: int) -> dict[str, float]:
        """Keep these weights when no earlier ones did better on the validation patients, or when there are none."""
        if epoch + 1 < self.config.epochs * (1 - CHOICE_SHARE):
            return {}
        # All processes hold the same weights, but devices may round differently; one must choose.
        score = said_by_first(self._validation_score() if process_rank() == 0 else math.nan, self.device)
        rank = -math.inf if math.isnan(score) else score
        if rank >= self.best_score:
            self.best.load_state_dict(self.average.state_dict())
            self.best_text.load_state_dict(self.objective.bank.state_dict())
            self.best_score = rank
        return {} if math.isnan(score) else {"validation_spearman": score}

    def _validation_score(self) -> float:
        """Spearman of the malignancy score with the mean rating over validation patients; NaN without any."""
        chosen = one_view_per_nodule(self.views, self.data.nodules, self.data.validation_nodules, fewest_readers=2)
        if len(chosen) == 0:
            return math.nan
        found = self.answer(self.average.module, chosen)
        return spearman(
            found.malignancy_score, np.array([self.data.nodules[index].malignancy for index in found.nodule])
        )

    def answer(self, network: CLIPLungNetwork, chosen: np.ndarray) -> Predictions:
        """Answers of a network for the views `chosen`, with the texts as they are now."""
        bank = self.objective.eval().text_bank()
        texts = bank.levels, float(self.objective.scale.detach())
        return predict_views(network, texts, self.views, self.data.nodules, chosen, self.config.patch, self.device)

    def _epoch(self, epoch: int) -> dict[str, float]:
        self.network.train()
        self.objective.train()
        self.objective.start_epoch()
        # Dropout is part of what a resumed run must repeat, and differs between processes.
        torch.manual_seed(self.config.seed * 100_003 + epoch + 1_000_000_007 * process_rank())
        sums: dict[str, float] = {}
        for step, batch in enumerate(self.data.epoch(epoch, process_rank(), process_count())):
            self._set_learning_rate(epoch * self.data.steps() + step)
            for name, value in self._step(batch).items():
                sums[name] = sums.get(name, 0.0) + value
        together = summed_over_processes(torch.tensor([*sums.values()], dtype=torch.float64).to(self.device)).tolist()
        return {name: value / self.data.steps() for name, value in zip(sums, together, strict=True)}

    def _step(self, batch: Batch) -> dict[str, float]:
        targets = Targets(**{name: value.to(self.device) for name, value in vars(batch.targets).items()})
        with autocast(self.device):
            output = self.network(batch.planes.to(self.device), batch.exists.to(self.device))
            terms = self.objective(output, targets)
        # The terms are means over this process's part of the batch, and parts may differ by one patch.
        share = len(targets.label) / sum(sizes_of_processes(len(targets.label), self.device))
        self.optimizer.zero_grad(set_to_none=True)
        (terms["total"] * share * process_count()).backward()
        average_gradients(self.learned)
        nn.utils.clip_grad_norm_(self.learned, 5.0)
        self.optimizer.step()
        self.average.update_parameters(self.network)
        return {name: share * value.item() for name, value in terms.items()}

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
        return {
            "network": self.network,
            "average": self.average,
            "objective": self.objective,
            "best": self.best,
            "best_text": self.best_text,
        }

    def _prepare_folder(self) -> None:
        state = self.folder / STATE_NAME
        if state.is_file():
            facts = load_state(state, self._modules(), self.optimizer)
            self.epochs_done, self.best_score = facts["epochs_done"], facts["best_score"]
            logger.info("continuing after epoch %d of %d", self.epochs_done, self.config.epochs)
        if said_by_first(self.epochs_done, self.device) != self.epochs_done:
            raise InputError(
                f"The processes find different states in {self.folder}. Give a folder that all machines share."
            )
        if process_rank() == 0:
            remove_leftovers(self.folder)
            with atomic_write(self.folder / CONFIG_NAME) as temporary:
                temporary.write_text(json.dumps(self.config.to_dict(), indent=2), encoding="utf-8")

    def _write(self, epoch: int, values: dict[str, float]) -> None:
        """The log first: a run stopped before the state is written repeats the epoch and replaces its row."""
        log_epoch(self.folder, epoch, values)
        facts = {"epochs_done": self.epochs_done, "best_score": self.best_score}
        save_state(self.folder / STATE_NAME, self._modules(), self.optimizer, facts)
        self._seconds.append(values["seconds"])
        left_s = sum(self._seconds) / len(self._seconds) * (self.config.epochs - self.epochs_done)
        figures = ", ".join(f"{name} {value:.4g}" for name, value in values.items())
        logger.info("epoch %d of %d, about %.0f s left: %s", self.epochs_done, self.config.epochs, left_s, figures)
