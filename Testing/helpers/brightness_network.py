"""A network whose right heat map is known."""

from __future__ import annotations

import torch

from CLIPLungLib.model.image_encoder import FeatureMaps


class Brightness(torch.nn.Module):
    """Its cells are the mean grey value of 4 x 4 pixels, its score is their mean, and its outline is what is bright."""

    def encoder(self, planes: torch.Tensor, exists: torch.Tensor) -> FeatureMaps:
        patch, plane = exists.nonzero(as_tuple=True)
        shown = planes[exists]
        cells = torch.nn.functional.avg_pool2d(shown.unsqueeze(1), 4)
        return FeatureMaps(cells, torch.ones_like(cells[:, 0]), patch, plane, cells[:, 0], 40 * (shown - 0.5))

    def read(self, features: FeatureMaps, patches: int):
        class Output:
            malignancy_score = features.pooled(patches)[:, 0, 0]
            maps = features

        return Output


def bright_block(row: int, column: int) -> torch.Tensor:
    """A bright block of 8 x 8 pixels in plane 1 of 3."""
    planes = torch.zeros(1, 3, 32, 32)
    planes[0, 1, row : row + 8, column : column + 8] = 1.0
    return planes
