"""One of torchrun's processes: `torchrun ... torchrun_worker.py FOLDER CASE...` trains once for each case.

Every process has a folder of its own, FOLDER/CASE/RANK, to show who writes what. What the process holds at the end goes to
FOLDER/CASE/RANK.safetensors.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

from helpers import tiny_training
from helpers.tiny_training import CONFIG, NODULES, LetterEncoder, tiny_patches
from safetensors.torch import save_file

from CLIPLungLib.errors import InputError
from CLIPLungLib.training import trainer as loop
from CLIPLungLib.training.processes import joined_processes, process_rank

CONFIGS = {
    "averaged": CONFIG,
    "not averaged": CONFIG,
    "no texts": replace(
        CONFIG,
        losses=replace(CONFIG.losses, image_class=0.0, image_attribute=0.0, class_attribute=0.0, attribute_rating=0.0),
    ),
}


def main(root: Path, cases: list[str]) -> None:
    tiny_training.compute_in_single_precision()
    parallel = loop.DistributedDataParallel
    with joined_processes("cpu") as device:
        for case in cases:
            loop.DistributedDataParallel = (lambda module, **_: module) if case == "not averaged" else parallel
            folder = root / case / str(process_rank())
            trainer = tiny_training.train_in(folder, CONFIGS[case], device)
            held = trainer._modules().items()
            tensors = {f"{name}/{key}": v for name, module in held for key, v in module.state_dict().items()}
            save_file({k: v.clone().contiguous() for k, v in tensors.items()}, f"{folder}.safetensors")
            # The first process finds a finished run in its folder, the others find none in theirs.
            again = loop.Trainer(CONFIGS[case], tiny_patches(), NODULES, folder, device, LetterEncoder())
            try:
                again.run()
            except InputError as error:
                folder.with_suffix(".refused").write_text(str(error), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
