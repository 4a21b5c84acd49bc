"""Default numbers of variants that go through the Siamese net; light, because command lines read them."""

from typing import Final

CALIBRATED: Final = 2000
"""Labelled variants for the choice of the structural flag's threshold; half as many test variants."""

EVALUATED: Final = 3000
"""Variants of each evaluated table."""
