"""What could make the network faster: each way against the network as it is, on the same patch, with how far its answers move.

`torch.compile` is not among them: it compiles for minutes. The page on performance has its figure from a run by hand.
"""

from __future__ import annotations

import copy
import sys
import tempfile
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "Testing"), str(Path(__file__).parent)]

import numpy as np
import torch
from helpers.made_up_ct import ball_points, made_up_ct
from interleaved import figure, timed_in_turns
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

SHAPE = (60, 256, 256)
Try = Callable[[], Tensor]


class AnswerOnly(nn.Module):
    """From planes that all exist to the answers, as plain tensors: what can be exported."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, planes: Tensor) -> Tensor:
        output = self.network(planes, torch.ones(planes.shape[:2], dtype=torch.bool))
        return torch.cat([output.malignancy_score, output.log_diameter, output.image_features.flatten()])


def fused(network: nn.Module) -> nn.Module:
    """A copy whose batch norms are part of the convolutions before them."""
    copied = copy.deepcopy(network)
    for module in copied.modules():
        names = [name for name, _ in module.named_children()]
        for first, second in pairwise(names):
            convolution, norm = getattr(module, first), getattr(module, second)
            if isinstance(convolution, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                setattr(module, first, fuse_conv_bn_eval(convolution, norm))
                setattr(module, second, nn.Identity())
    return copied


def measured(rounds: int, threads: int) -> list[dict[str, Any]]:
    """One line for every way that runs here; the others are named with their reason."""
    from CLIPLungLib.image.patch import extract_patch
    from CLIPLungLib.inference.classifier import NoduleClassifier
    from CLIPLungLib.inference.readout import network_inputs

    classifier = NoduleClassifier.load(None, "cpu")
    patch = extract_patch(made_up_ct(SHAPE), np.array(ball_points(SHAPE)[5]), classifier.checkpoint.patch)
    planes, _ = network_inputs([patch], classifier.checkpoint, classifier.device)
    network = AnswerOnly(classifier.checkpoint.network).eval()
    ways: dict[str, Callable[[nn.Module, Tensor], Try]] = {
        "weights in the order channels-last": _channels_last,
        "batch norms fused into convolutions": lambda net, x: _torch(fused(net), x),
        "bfloat16": _bfloat16,
        "ONNX Runtime": _onnx_runtime,
        "OpenVINO": _openvino,
    }
    tries, refused = {"as it is": _torch(network, planes)}, {}
    with torch.inference_mode():
        expected = tries["as it is"]().clone()
        for name, way in ways.items():
            try:
                tried = way(network, planes)
                tried()
                tries[name] = tried
            except Exception as error:  # A way that does not run here is a result, too.
                refused[name] = f"{type(error).__name__}: {str(error).strip().splitlines()[0] if str(error) else ''}"[
                    :90
                ]
        times = timed_in_turns(tries, rounds)
        moved = {name: float((tried().float() - expected).abs().max()) for name, tried in tries.items()}
    found = [
        figure(name, "the network as it is", times[name], times["as it is"], None, threads, f"{moved[name]:.1e}")
        for name in ways
        if name in tries
    ]
    return found + [{"what": name, "note": f"does not run here ({reason})"} for name, reason in refused.items()]


def _torch(network: nn.Module, planes: Tensor) -> Try:
    def answer() -> Tensor:
        with torch.inference_mode():
            found: Tensor = network(planes)
        return found

    return answer


def _channels_last(network: nn.Module, planes: Tensor) -> Try:
    copied = copy.deepcopy(network)
    for module in copied.modules():
        if isinstance(module, nn.Conv2d):
            module.to(memory_format=torch.channels_last)
    return _torch(copied, planes)


def _bfloat16(network: nn.Module, planes: Tensor) -> Try:
    def answer() -> Tensor:
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
            found: Tensor = network(planes)
        return found.float()

    return answer


def _exported(network: nn.Module, planes: Tensor) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "network.onnx"
        torch.onnx.export(network, (planes,), str(file), dynamo=False)
        return file.read_bytes()


def _onnx_runtime(network: nn.Module, planes: Tensor) -> Try:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(_exported(network, planes), options, providers=["CPUExecutionProvider"])
    inputs = {session.get_inputs()[0].name: planes.numpy()}
    return lambda: torch.from_numpy(session.run(None, inputs)[0])


def _openvino(network: nn.Module, planes: Tensor) -> Try:
    import openvino

    core = openvino.Core()
    settings = {"INFERENCE_NUM_THREADS": torch.get_num_threads(), "INFERENCE_PRECISION_HINT": "f32"}
    compiled = core.compile_model(openvino.convert_model(network, example_input=planes), "CPU", settings)
    return lambda: torch.from_numpy(compiled(planes.numpy())[0].copy())
