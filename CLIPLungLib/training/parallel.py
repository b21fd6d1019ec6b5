"""What several training processes must share so that together they compute what one would: sums, and batch statistics."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, distributed, nn


def process_count() -> int:
    """Number of processes of this run, 1 without torchrun."""
    return distributed.get_world_size() if distributed.is_available() and distributed.is_initialized() else 1


def process_rank() -> int:
    """Which of the processes this is, from 0."""
    return distributed.get_rank() if process_count() > 1 else 0


def wait_for_all() -> None:
    """Return when every process of this run has come this far."""
    if process_count() > 1:
        distributed.barrier()


def summed_over_processes(value: Tensor) -> Tensor:
    """The sum of a tensor over all processes; gradients flow back to every one of them."""
    return _SumOverProcesses.apply(value) if process_count() > 1 else value


class _SumOverProcesses(torch.autograd.Function):
    """Every process uses the sum, so the gradients of all of them belong to every summand."""

    @staticmethod
    def forward(ctx: Any, value: Tensor) -> Tensor:  # noqa: ARG004 - nothing to keep
        total = value.clone()
        distributed.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:  # noqa: ARG004
        total = gradient.clone()
        distributed.all_reduce(total)
        return total


def sizes_of_processes(own: int, device: torch.device) -> list[int]:
    """How much each of the processes has, in the order of their ranks."""
    if process_count() == 1:
        return [own]
    sizes = torch.zeros(process_count(), dtype=torch.int64, device=device)
    sizes[process_rank()] = own
    distributed.all_reduce(sizes)
    return sizes.tolist()


def said_by_first(value: float, device: torch.device) -> float:
    """The value that the first process holds; what the others give does not matter."""
    told = torch.tensor([value], dtype=torch.float64, device=device)
    if process_count() > 1:
        distributed.broadcast(told, 0)
    return told.item()


def average_gradients(parameters: Iterable[nn.Parameter]) -> None:
    """Replace every gradient by its mean over all processes; where only some have one, the others count as zero.

    A parameter without a gradient in any process stays without: the optimizer must pass over it as with one process.
    """
    if process_count() == 1:
        return
    parameters = list(parameters)
    holders = torch.tensor([float(p.grad is not None) for p in parameters], device=parameters[0].device)
    distributed.all_reduce(holders)
    shared = [p for p, count in zip(parameters, holders.tolist(), strict=True) if count]
    gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in shared]
    # One message for all of them.
    together = torch.cat([gradient.flatten() for gradient in gradients])
    distributed.all_reduce(together)
    means = (together / process_count()).split([p.numel() for p in shared])
    for parameter, gradient, mean in zip(shared, gradients, means, strict=True):
        parameter.grad = gradient.copy_(mean.view_as(gradient))


class SharedBatchNorm2d(nn.BatchNorm2d):
    """Batch normalisation over the batches of all processes.

    torch's own SyncBatchNorm refuses the CPU, where the equality of two processes with one is tested.
    """

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or process_count() == 1:
            return super().forward(x)
        values = x.float()
        count = values.new_tensor([values.numel() / values.shape[1]])
        sums, total = summed_over_processes(torch.cat([values.sum(dim=(0, 2, 3)), count])).split([values.shape[1], 1])
        mean = sums / total
        # Squares of the differences, not differences of squares, whose digits cancel.
        centred = values - mean[:, None, None]
        variance = summed_over_processes(centred.square().sum(dim=(0, 2, 3))) / total
        with torch.no_grad():
            self.running_mean.lerp_(mean, self.momentum)
            self.running_var.lerp_(variance * total / (total - 1), self.momentum)
            self.num_batches_tracked.add_(1)
        scale = self.weight / torch.sqrt(variance + self.eps)
        return (centred * scale[:, None, None] + self.bias[:, None, None]).to(x.dtype)


def share_batch_statistics(module: nn.Module) -> None:
    """Make every batch normalisation of a module a SharedBatchNorm2d, in place."""
    for child in module.modules():
        if type(child) is nn.BatchNorm2d:
            child.__class__ = SharedBatchNorm2d
