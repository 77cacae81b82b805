"""Mix-review: fine-tuning with uniform replay (He et al., 2021); `fki/replay` has the policy."""

from typing import ClassVar

from fki.methods import base
from fki.replay.uniform import UniformOptions


class MixReview(base.Method):
    """Vanilla with uniform replay."""

    table: ClassVar[str] = "mixreview"
    replay: ClassVar[str] = "uniform"
    Options: ClassVar[type[base.Options]] = UniformOptions
