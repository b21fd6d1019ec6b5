"""The training loop: network, objective, AdamW with a one-cycle schedule, averaged weights, resumable after every epoch.

Several processes (`joined_processes`) share every batch through torch's DistributedDataParallel. Each normalises its own share of a
batch, so a run of several processes is close to that of one, not equal to it. Only the first of them writes files.
"""

from __future__ import annotations

import copy
import json
import logging
import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from CLIPLungLib.atomic_write import remove_leftovers, writing
from CLIPLungLib.dataset.nodule_table import Nodule
from CLIPLungLib.dataset.training_patches import TrainingPatches
from CLIPLungLib.device import autocast, choose_device
from CLIPLungLib.errors import CheckpointError, InputError
from CLIPLungLib.inference.checkpoint import Checkpoint
from CLIPLungLib.model.image_encoder import EfficientNetEncoder
from CLIPLungLib.model.network import CLIPLungNetwork
from CLIPLungLib.model.prompts import TextBank
from CLIPLungLib.model.text_encoder import TextEncoder
from CLIPLungLib.training.batches import Batch
from CLIPLungLib.training.config import TrainConfig
from CLIPLungLib.training.log import log_epoch
from CLIPLungLib.training.objective import Objective, Targets
from CLIPLungLib.training.pretrained import load_trunk
from CLIPLungLib.training.processes import mean_over_processes, process_count, process_rank, take_from_first
from CLIPLungLib.training.run_origin import CONFIG_NAME, STATE_NAME, RunOrigin, data_sha256
from CLIPLungLib.training.run_state import load_state, save_state
from CLIPLungLib.training.starting_point import objective_of, require_same_network, text_encoder_of
from CLIPLungLib.training.training_set import TrainingSet
from CLIPLungLib.training.validation import validation_score

logger = logging.getLogger(__name__)
# The epoch is chosen among this last share of them: earlier the averaged weights still lag behind.
CHOICE_SHARE = 0.3


class TermsOfBatch(nn.Module):
    """Network and objective as one module, whose gradients DistributedDataParallel averages."""

    def __init__(self, network: CLIPLungNetwork, objective: Objective) -> None:
        super().__init__()
        self.network, self.objective = network, objective

    def forward(self, planes: Tensor, exists: Tensor, targets: Targets) -> dict[str, Tensor]:
        """Named terms of the loss and their weighted sum "total"; arguments as those of network and objective."""
        return cast(dict[str, Tensor], self.objective(self.network(planes, exists), targets))


class Trainer:
    """The training of one network in one folder. A saved state is resumed.

    Args:
        config: settings.
        training_patches: the prepared data.
        nodules: all rows of the table they were prepared from.
        folder: for log and state.
        device: "auto", "cpu", "cuda" or "cuda:N"; with several processes the one that `joined_processes` gave.
        text_encoder: built from the configuration unless given.
        init: checkpoint to fine-tune; its texts stay fixed, optimizer and weight averages start anew.

    Raises:
        InputError: patches that do not fit table or settings, a text encoder or a checkpoint of another size than the network's, a
            folder that holds a run with other settings, on other data or from other weights.
        CheckpointError: the state in the folder is damaged or of another network.
    """

    def __init__(
        self,
        config: TrainConfig,
        training_patches: TrainingPatches,
        nodules: Sequence[Nodule],
        folder: Path,
        device: str | torch.device = "auto",
        text_encoder: TextEncoder | None = None,
        init: Checkpoint | None = None,
    ) -> None:
        torch.manual_seed(config.seed)
        self.config, self.folder = config, Path(folder)
        self.device = choose_device(str(device))
        self.training_patches, self.init = training_patches, init
        self.origin = RunOrigin(config, data_sha256(training_patches, nodules), init.sha256 if init else "")
        self.data = TrainingSet(training_patches, nodules, config)
        encoder = text_encoder_of(config, init, text_encoder)
        self.network = CLIPLungNetwork(config.network)
        if init is not None:
            require_same_network(config, init)
            self.network.load_state_dict(init.network.state_dict())
        elif config.pretrained_trunk:
            trunk = cast(EfficientNetEncoder, self.network.encoder).trunk
            load_trunk(trunk)
            trunk.freeze_early()
        self.network.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload] # torch lacks this one
        self.objective = objective_of(config, init, encoder).to(self.device)
        self.text_encoder_name = (
            encoder.name if encoder else str(init and init.provenance.get("text_encoder", "unknown"))
        )
        averaging = get_ema_multi_avg_fn(config.ema_decay)  # type: ignore[no-untyped-call] # torch's own
        self.average = AveragedModel(self.network, multi_avg_fn=averaging, use_buffers=True)
        self.optimizer = torch.optim.AdamW(self._parameter_groups(), lr=config.learning_rate)
        self.learned = [p for group in self.optimizer.param_groups for p in group["params"]]
        self.epochs_done = 0
        self.best = copy.deepcopy(self.average)
        self.best_text = copy.deepcopy(self.objective.bank)
        self.best_score = -math.inf
        self._load_state()

    @property
    def is_finished(self) -> bool:
        """Whether the last epoch is done."""
        return self.epochs_done >= self.config.epochs

    @property
    def best_network(self) -> CLIPLungNetwork:
        """The averaged weights of the best epoch, in evaluation mode.

        Raises:
            RuntimeError: the training is not finished.
        """
        self._require_finished()
        return cast(CLIPLungNetwork, self.best.module.eval())

    def text_bank(self) -> TextBank:
        """The texts of the best epoch: classes (K, D), levels (M, D).

        Raises:
            RuntimeError: the training is not finished.
        """
        self._require_finished()
        return self.objective.text_bank(self.best_text)

    @property
    def text_scale(self) -> float:
        """1 / tau of the best epoch.

        Raises:
            RuntimeError: the training is not finished.
        """
        self._require_finished()
        return float(self.best_text.scale.detach())

    @property
    def draws_outline(self) -> bool:
        """Whether the network was trained to outline, here or in `init`."""
        return self.config.losses.outline > 0 and (
            self.data.learns_outline or (self.init is not None and self.init.draws_outline)
        )

    def learned_patches(self) -> np.ndarray:
        """(N,) indices of the training patches of the nodules trained on, nodule by nodule."""
        return np.concatenate(list(self.data.patches_of_nodule.values()))

    def run(self, progress: Callable[[int, int], None] | None = None) -> None:
        """Train to the last epoch; returns at once when that is done. All processes must call it.

        Args:
            progress: called by the first process as (epochs done, epochs in all) after every epoch.

        Raises:
            InputError: the processes find different states in the folder.
        """
        self._require_same_state()
        if self.is_finished:
            return
        self._prepare_folder()
        terms: nn.Module = TermsOfBatch(self.network, self.objective)
        if process_count() > 1:
            # Between two encodings of the texts the prompts have no gradient.
            terms = DistributedDataParallel(terms, find_unused_parameters=True)
        for epoch in range(self.epochs_done, self.config.epochs):
            started = time.monotonic()
            means = self._epoch(epoch, terms)
            self.epochs_done = epoch + 1
            means |= self._keep_best(epoch)
            if process_rank() == 0:
                self._write(epoch, {"seconds": time.monotonic() - started} | means)
                if progress:
                    progress(self.epochs_done, self.config.epochs)

    def _epoch(self, epoch: int, terms: nn.Module) -> dict[str, float]:
        """Means of the terms over all steps and processes."""
        self.network.train()
        self.objective.train()
        self.objective.start_epoch()
        # Dropout is part of what a resumed run must repeat, and differs between processes.
        torch.manual_seed(self.config.seed * 100_003 + epoch + 1_000_000_007 * process_rank())
        steps = self.data.steps()
        sums: dict[str, float] = {}
        for step, batch in enumerate(self.data.epoch(epoch, process_rank(), process_count())):
            self._set_learning_rate((epoch * steps + step) / (self.config.epochs * steps))
            for name, value in self._step(batch, terms).items():
                sums[name] = sums.get(name, 0.0) + value
        # Running statistics and the mean image follow each process's own share; the first one's stand for all.
        take_from_first([*self.network.buffers(), *self.average.module.buffers(), *self.objective.bank.buffers()])
        means = mean_over_processes(torch.tensor([*sums.values()], dtype=torch.float64).to(self.device)) / steps
        return dict(zip(sums, means.tolist(), strict=True))

    def _step(self, batch: Batch, terms: nn.Module) -> dict[str, float]:
        targets = batch.targets.to(self.device)
        with autocast(self.device):
            values = terms(batch.planes.to(self.device), batch.exists.to(self.device), targets)
        self.optimizer.zero_grad(set_to_none=True)
        values["total"].backward()
        nn.utils.clip_grad_norm_(self.learned, 5.0)
        self.optimizer.step()
        self.average.update_parameters(self.network)
        return {name: value.item() for name, value in values.items()}

    def _set_learning_rate(self, done: float) -> None:
        """One-cycle schedule: rise over the first fifth, then cosine decay to zero. `done` is the share of all steps taken."""
        rise = min(1.0, 0.05 + done / 0.2)
        fall = 0.5 * (1 + torch.cos(torch.tensor(torch.pi * max(0.0, (done - 0.2) / 0.8))).item())
        for group in self.optimizer.param_groups:
            group["lr"] = self.config.learning_rate * group["rate"] * rise * fall

    def _keep_best(self, epoch: int) -> dict[str, float]:
        """Keep these weights if no earlier ones were better on the validation patients, or if there are no such patients."""
        if epoch + 1 < self.config.epochs * (1 - CHOICE_SHARE):
            return {}
        # All processes hold the same weights, but devices may round differently; one must choose.
        shared = torch.tensor(self._validation_score() if process_rank() == 0 else math.nan, dtype=torch.float64)
        shared = shared.to(self.device)
        take_from_first([shared])
        score = shared.item()
        rank = -math.inf if math.isnan(score) else score
        if rank >= self.best_score:
            self.best.load_state_dict(self.average.state_dict())
            self.best_text.load_state_dict(self.objective.bank.state_dict())
            self.best_score = rank
        return {} if math.isnan(score) else {"validation_spearman": score}

    def _validation_score(self) -> float:
        return validation_score(self.average.module, self.data, self.device)

    def _parameter_groups(self) -> list[dict[str, Any]]:
        """Weight decay for matrices and kernels only, not for norms, biases, the context of prompts and tau.

        Pretrained weights have a lower learning rate than new ones.
        """
        modules: tuple[nn.Module, ...] = (self.network, self.objective)
        learned = [p for module in modules for p in module.parameters() if p.requires_grad]
        encoder = self.network.encoder
        pretrained: set[int] = set()
        if self.config.pretrained_trunk and isinstance(encoder, EfficientNetEncoder):
            pretrained = {id(p) for p in encoder.trunk.parameters()}
        groups = [
            {
                "params": [p for p in learned if (p.ndim > 1) == is_kernel and (id(p) in pretrained) == is_pretrained],
                "weight_decay": self.config.weight_decay if is_kernel else 0.0,
                "rate": self.config.trunk_rate if is_pretrained else 1.0,
            }
            for is_pretrained in (False, True)
            for is_kernel in (True, False)
        ]
        return [group for group in groups if group["params"]]

    def _modules(self) -> dict[str, nn.Module]:
        return {
            "network": self.network,
            "average": self.average,
            "objective": self.objective,
            "best": self.best,
            "best_text": self.best_text,
        }

    def _require_finished(self) -> None:
        if not self.is_finished:
            raise RuntimeError(
                f"The training in {self.folder} has done {self.epochs_done} of {self.config.epochs} epochs: call run() first."
            )

    def _require_same_state(self) -> None:
        of_first = torch.tensor(self.epochs_done, device=self.device)
        take_from_first([of_first])
        if of_first.item() != self.epochs_done:
            raise InputError(
                f"The processes find different states in {self.folder}. Give a folder that all machines share."
            )

    def _load_state(self) -> None:
        state = self.folder / STATE_NAME
        if not state.is_file():
            return
        self.origin.require_same(self.folder)
        facts = load_state(state, self._modules(), self.optimizer)
        try:
            self.epochs_done, self.best_score = int(facts["epochs_done"]), float(facts["best_score"])
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise CheckpointError(f"{state} is no state of a run ({error}). Remove it to start anew.") from error

    def _prepare_folder(self) -> None:
        if self.epochs_done:
            logger.info("continuing after epoch %d of %d", self.epochs_done, self.config.epochs)
        if process_rank() == 0:
            remove_leftovers(self.folder)
            with writing(self.folder / CONFIG_NAME) as temporary:
                temporary.write_text(json.dumps(self.config.to_dict(), indent=2), encoding="utf-8")

    def _write(self, epoch: int, values: dict[str, float]) -> None:
        """Write the log first: a run stopped before its state is written repeats the epoch and replaces the row."""
        log_epoch(self.folder, epoch, values)
        facts = {"epochs_done": self.epochs_done, "best_score": self.best_score, **self.origin.facts()}
        save_state(self.folder / STATE_NAME, self._modules(), self.optimizer, facts)
        figures = ", ".join(f"{name} {value:.4g}" for name, value in values.items())
        logger.info("epoch %d of %d: %s", self.epochs_done, self.config.epochs, figures)
