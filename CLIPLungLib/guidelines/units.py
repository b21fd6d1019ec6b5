"""Sizes and times that are possible but rare, and usual in another unit: they are used, and told."""

from __future__ import annotations

from CLIPLungLib.guidelines.case import Case, Size, sphere_diameter_mm

# Below, few readers measure nodules, and growth hardly shows; in cm, ml and months such numbers are usual.
RARE_BELOW_MM, RARE_BELOW_DAYS = 3.0, 28


def unit_warnings(case: Case) -> list[str]:
    """What may have been given in centimetres, millilitres or months."""
    found = _size_warnings("", case.size)
    if case.prior is not None:
        found += _size_warnings("prior ", case.prior.size)
        days = case.prior.days
        if days is not None and days < RARE_BELOW_DAYS:
            found.append(f"Only {days} days lie between the CTs: growth hardly shows. Give days, not months or years.")
    return found


def _size_warnings(whose: str, size: Size) -> list[str]:
    longest_mm = size.long_mm if size.long_mm is not None else size.mean_mm
    if longest_mm is not None and longest_mm < RARE_BELOW_MM:
        return [f"A {whose}diameter of {longest_mm:g} mm is rarely measured. Give millimetres, not centimetres."]
    if longest_mm is None and size.volume_mm3 is not None:
        ball_mm = sphere_diameter_mm(size.volume_mm3)
        if ball_mm < RARE_BELOW_MM:
            return [
                f"A {whose}volume of {size.volume_mm3:g} mm3, a ball of {ball_mm:.1f} mm, is rarely measured. Give mm3 (1 ml is 1000 mm3)."
            ]
    return []
