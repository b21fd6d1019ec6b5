"""The benchmarks' arithmetic, what they compare, and the page they write. Nothing is timed against a limit here."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import pytest
import torch
from helpers.tiny_training import LetterEncoder

HERE = Path(__file__).parent
if str(HERE) not in sys.path:
    sys.path.append(str(HERE))

from interleaved import Goal, Times, figure, limit_ms, ratios, timed_in_turns
from performance_page import BEGIN, END, generated, plot, renewed
from training_step import made_up_batch, objectives, step

from CLIPLungLib.model.network import CLIPLungNetwork, NetworkConfig

ABOVE, BELOW = Times((2.0, 9.0, 4.0), (1.0, 1.0, 1.0)), Times((1.0, 3.0, 4.0), (0.5, 0.5, 0.5))


def report():
    figures = [
        figure("ours", "theirs", ABOVE, BELOW, Goal(1.2), 1, "scaled down"),
        figure("plain", "ours", ABOVE, BELOW, Goal(1.5, True), 1),
    ]
    machine = {"processor": "Xeon", "cores": 2, "torch_threads": 1, "python": "3.11", "torch": "2.14"}
    tries = [figure("fused", "as it is", BELOW, ABOVE, None, 1, "2.0e-06"), {"what": "other", "note": "does not run"}]
    growth = {"slices": {"slices": [50, 100], "processor_s_per_ct": [0.5, 0.75]}}
    found = {"click": figures, "cold": {"fault": "too slow"}, "tries": tries, "growth": growth}
    return {"machine": machine, "load": [1.0, 3.5], "minutes": 4.2, "found": found}


def test_ratios_are_those_of_the_rounds():
    assert ratios([2.0, 9.0, 4.0], [1.0, 3.0, 4.0]) == {"median": 2.0, "low": 1.0, "high": 3.0}


def test_a_figure_holds_ratio_goal_and_medians():
    found = figure("a", "b", ABOVE, BELOW, Goal(1.9), 3)
    assert (found["ratio"]["median"], found["processor_ratio"]["median"]) == (2.0, 2.0)
    assert (found["median_s"], found["baseline_s"], found["threads"], found["rounds"]) == (4.0, 3.0, 3, 3)
    assert (found["goal"], found["is_met"]) == ("<= 1.9", False)


def test_a_goal_is_met_at_its_limit():
    assert Goal(1.2).is_met(1.2)
    assert not Goal(1.2).is_met(1.21)
    assert Goal(12, True).is_met(12)
    assert not Goal(12, True).is_met(11.9)


def test_milliseconds_are_compared_with_their_limit():
    found = limit_ms("cut", Times((0.002, 0.004, 0.010), (0.001, 0.001, 0.001)), 5.0, 1)
    assert found["ratio"]["median"] == pytest.approx(0.8)
    assert found["is_met"]


def test_actions_take_turns_and_the_first_round_does_not_count():
    order = []
    times = timed_in_turns({"a": lambda: order.append("a"), "b": lambda: order.append("b")}, 2)
    assert order == ["a", "b"] * 3
    assert [len(times[name].wall_s) for name in "ab"] == [2, 2]


def test_the_plain_step_has_the_losses_and_gradients_of_ours():
    torch.manual_seed(1)
    encoder = LetterEncoder()
    config = NetworkConfig(planes=5, pixels=32, text_dim=encoder.dim, dropout=0.0)
    network = CLIPLungNetwork(config).eval()
    batch, found = made_up_batch(3, 5, 32), []
    for objective in objectives(encoder, config.groups, 200):
        total = step(network, objective, batch)
        parameters = [*network.parameters(), *objective.bank.parameters()]
        found.append((total, [p.grad.clone() for p in parameters if p.grad is not None]))
    (ours, our_gradients), (plain, plain_gradients) = found
    assert float(ours) == pytest.approx(float(plain), rel=1e-5)
    assert len(our_gradients) == len(plain_gradients) > 10
    for a, b in zip(our_gradients, plain_gradients, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-5)
    assert max(float(gradient.abs().max()) for gradient in our_gradients) > 1e-3


def test_the_page_is_renewed_between_its_markers_alone():
    page = f"before\n{BEGIN}\nearlier figures\n{END}\nafter\n"
    first = renewed(page, report())
    assert first.startswith(f"before\n{BEGIN}\n")
    assert first.endswith(f"\n{END}\nafter\n")
    assert "earlier figures" not in first
    assert renewed(first, report()) == first
    with pytest.raises(ValueError, match="needs the lines"):
        renewed("no markers", report())


def test_the_page_says_what_was_found():
    text = generated(report())
    assert "Xeon, 2 cores, 1 thread(s)" in text
    assert "load 1.0 to 3.5" in text
    assert (
        "| ours; scaled down | theirs | 2.00 (1.00 to 3.00) | 2.00 | <= 1.2 | **no** | 4.00 s against 3.00 s |" in text
    )
    assert "| plain | ours | 2.00 (1.00 to 3.00) | 2.00 | >= 1.5 | yes |" in text
    assert "Not measured: cold (too slow)." in text
    assert "| fused | 0.50 (0.33 to 1.00) | 2.0e-06 | yes |" in text
    assert "| other | does not run | | no |" in text
    assert "- slices 50, 100: processor s per ct: 0.5, 0.75" in text


def test_plots_are_drawn(tmp_path):
    assert [file.name for file in plot(report(), tmp_path)] == ["performance_ratios.png", "performance_growth.png"]
    assert all(file.stat().st_size > 5000 for file in tmp_path.iterdir())


@pytest.mark.parametrize("name", ["click_to_scene", "cold_start", "cohort_overhead", "series_reading", "tries", "run"])
def test_benchmarks_import(name):
    module = importlib.import_module(name)
    assert callable(getattr(module, "measured", None) or module.main)


def test_batch_norms_are_fused_without_a_change_of_the_answer():
    from tries import AnswerOnly, fused

    torch.manual_seed(2)
    network = CLIPLungNetwork(NetworkConfig(planes=5, pixels=32, text_dim=8)).eval()
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.uniform_(-0.2, 0.2)
            module.running_var.uniform_(0.5, 2.0)
    planes = torch.rand(2, 5, 32, 32)
    with torch.inference_mode():
        moved = (AnswerOnly(network)(planes) - AnswerOnly(fused(network))(planes)).abs().max()
    assert 0 < float(moved) < 1e-4
    kept = [module for module in fused(network).modules() if isinstance(module, torch.nn.BatchNorm2d)]
    assert not kept
