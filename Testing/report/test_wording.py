"""Panel, page and table read an answer with the same words."""

from __future__ import annotations

from dataclasses import replace

import pytest

from CLIPLungLib.inference.result import AttributeResult
from CLIPLungLib.report.wording import KIND_TITLES, read_sign
from CLIPLungLib.vocabulary import ATTRIBUTE_OF_NAME, ATTRIBUTES

MARGIN = AttributeResult("margin", 0.234, 4.5, (0.0, 0.0, 0.0, 0.5, 0.5), "with a sharp margin")


def test_a_degree_is_read_with_its_scale_its_spread_and_its_neighbours():
    reading = read_sign(MARGIN)
    assert (reading.title, reading.value, reading.similarity) == ("Margin", "4.5 / 5", "+0.23")
    assert reading.share == pytest.approx(0.875)
    assert reading.spread == pytest.approx((0.75, 1.0))
    assert reading.neighbours == "4 is 'with a rather sharp margin', 5 is 'with a sharp margin'"
    assert reading.compared_with == "a lung nodule with a sharp margin"


@pytest.mark.parametrize(("level", "codes"), [(1.0, "1"), (1.96, "2"), (2.04, "2"), (2.2, "23"), (5.0, "5")])
def test_neighbours_are_those_of_the_degree_that_is_shown(level, codes):
    neighbours = read_sign(replace(MARGIN, level=level)).neighbours
    assert [part.strip()[0] for part in neighbours.split(",")] == list(codes)


def test_opinions_that_agree_have_no_spread():
    low, high = read_sign(replace(MARGIN, level=3.0, level_probabilities=(0.0, 0.0, 1.0, 0.0, 0.0))).spread
    assert low == high == pytest.approx(0.5)


def test_a_kind_is_named_and_has_no_degree():
    probabilities = (0.0, 0.0, 0.1, 0.0, 0.2, 0.7)
    reading = read_sign(AttributeResult("calcification", 0.0, 5.5, probabilities, "without calcification"))
    assert (reading.value, reading.share, reading.best) == ("absent", None, 5)
    assert reading.cells == probabilities
    assert reading.neighbours == "absent 70%, central 20%, solid 10%"


def test_every_kind_has_a_title():
    assert {a.name for a in ATTRIBUTES if not a.ordinal} == set(KIND_TITLES)
    assert all(len(titles) == len(ATTRIBUTE_OF_NAME[name].levels) for name, titles in KIND_TITLES.items())
