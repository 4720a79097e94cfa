"""Every method by name: the one place that knows all of them.

Flags are here at once; networks, with the packages that they need, are imported when one is built.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from typing import TYPE_CHECKING, Any

from common.cli import early_flags
from model.dc_sam.config import HYPER_PARAMETERS, DcSamOptions
from model.insid3.config import Insid3Options
from model.matcher.config import MatcherOptions
from model.method_options import LossOptions
from model.persam.config import PerSamFOptions, PerSamOptions
from model.pfenet.config import HYPER_PARAMETERS as PFENET_HYPER_PARAMETERS
from model.pfenet.config import PfenetLossOptions, PfenetOptions
from model.sansa.config import HYPER_PARAMETERS as SANSA_HYPER_PARAMETERS
from model.sansa.config import SansaOptions
from model.segic.config import HYPER_PARAMETERS as SEGIC_HYPER_PARAMETERS
from model.segic.config import SegicLossOptions, SegicOptions
from model.sine.config import HYPER_PARAMETERS as SINE_HYPER_PARAMETERS
from model.sine.config import SineLossOptions, SineOptions
from model.vrp_sam.config import HYPER_PARAMETERS as VRP_SAM_HYPER_PARAMETERS
from model.vrp_sam.config import VrpSamOptions

if TYPE_CHECKING:
    from torch import Tensor, nn

    from common.pair_rules import PairRules
    from model.method import Method


@dataclass(frozen=True)
class Later:
    """Something of a module of the methods, which is imported when it is first used."""

    module: str
    """Below `model`."""
    name: str

    def get(self) -> Any:
        return getattr(import_module(f"{__package__}.{self.module}"), self.name)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call it, where it is a function."""
        return self.get()(*args, **kwargs)


def _never(names: Collection[str]) -> bool:
    return False


@dataclass(frozen=True)
class Entry:
    """How a method is configured, built and restored."""

    title: str
    """What people call it."""
    options: Any
    """Its flags, a `model.method_options.MethodOptions`."""
    build: "Callable[[Any], Method]"
    """From options: frozen parts with their weights, the learnable part seeded by torch."""
    ready: bool = False
    """Whether it segments as it is built, with public weights and without a checkpoint."""
    restore: "Callable[[Any, dict[str, Tensor], object], Method] | None" = None
    """From options, a checkpoint's weights, and what to call it in messages; None: it has none."""
    hyper_parameters: Mapping[str, Mapping[str, Mapping[str, Any]]] = field(default_factory=dict)
    """Preset -> benchmark or stage -> defaults of flags; empty where it does not train."""
    losses: Any = LossOptions
    """Flags of what its training minimises."""
    pairs: "Callable[[int, Any], Mapping[str, tuple[PairRules, str]]] | None" = None
    """From the side of the square and the flags of `losses`: by a source's name or kind, how pairs
    are made of it, and what is drawn first, a "class" or an "image"; None: it learns from
    episodes, which may be made of pairs, too."""
    read_published: "Callable[..., tuple[Any, dict[str, Tensor]]] | None" = None
    """Options and weights of a checkpoint of the method's own published program, by its path and
    what the file does not tell: the variant of the SAM that the method prompts, or (PFENet) the
    benchmark whose sizes it was trained with."""
    is_published: Callable[[Collection[str]], bool] = _never
    """Whether tensors of these names, without `module.`, are of such a checkpoint."""
    steps: Later | None = None
    """`export_steps`; None: it cannot be exported."""

    @property
    def export_steps(self) -> "Mapping[str, Callable[[Any, int], nn.Module]]":
        """Name -> from a method and the side of pictures, a step to export; in the order of use."""
        return self.steps.get() if self.steps else {}


METHODS: dict[str, Entry] = {
    "dc_sam": Entry(
        title="DC-SAM",
        options=DcSamOptions,
        build=Later("dc_sam.builder", "build_dc_sam"),
        restore=Later("dc_sam.builder", "restore_dc_sam"),
        hyper_parameters=HYPER_PARAMETERS,
        read_published=Later("dc_sam.released_names", "read_release"),
        is_published=Later("dc_sam.released_names", "is_release"),
        steps=Later("dc_sam.export_steps", "STEPS"),
    ),
    "insid3": Entry(
        title="INSID3",
        options=Insid3Options,
        build=Later("insid3.builder", "build_insid3"),
        ready=True,
        steps=Later("insid3.export_steps", "STEPS"),
    ),
    "matcher": Entry(
        title="Matcher",
        options=MatcherOptions,
        build=Later("matcher.builder", "build_matcher"),
        ready=True,
    ),
    "sansa": Entry(
        title="SANSA",
        options=SansaOptions,
        build=Later("sansa.builder", "build_sansa"),
        ready=True,
        restore=Later("sansa.builder", "restore_sansa"),
        hyper_parameters=SANSA_HYPER_PARAMETERS,
        read_published=Later("sansa.builder", "read_release"),
        steps=Later("sansa.export_steps", "STEPS"),
        is_published=Later("sansa.released_names", "is_release"),
    ),
    "sine": Entry(
        title="SINE",
        options=SineOptions,
        build=Later("sine.builder", "build_sine"),
        ready=True,
        restore=Later("sine.builder", "restore_sine"),
        hyper_parameters=SINE_HYPER_PARAMETERS,
        losses=SineLossOptions,
        pairs=Later("sine.training", "pair_rules"),
        read_published=Later("sine.builder", "read_release"),
        is_published=Later("sine.released_names", "is_release"),
    ),
    "segic": Entry(
        title="SegIC",
        options=SegicOptions,
        build=Later("segic.builder", "build_segic"),
        ready=True,
        restore=Later("segic.builder", "restore_segic"),
        hyper_parameters=SEGIC_HYPER_PARAMETERS,
        losses=SegicLossOptions,
        pairs=Later("segic.training", "pair_rules"),
        read_published=Later("segic.builder", "read_release"),
        is_published=Later("segic.released_names", "is_release"),
        steps=Later("segic.export_steps", "STEPS"),
    ),
    "vrp_sam": Entry(
        title="VRP-SAM",
        options=VrpSamOptions,
        build=Later("vrp_sam.builder", "build_vrp_sam"),
        restore=Later("vrp_sam.builder", "restore_vrp_sam"),
        hyper_parameters=VRP_SAM_HYPER_PARAMETERS,
        read_published=Later("vrp_sam.released_names", "read_release"),
        is_published=Later("vrp_sam.released_names", "is_release"),
    ),
    "pfenet": Entry(
        title="PFENet",
        options=PfenetOptions,
        build=Later("pfenet.builder", "build_pfenet"),
        restore=Later("pfenet.builder", "restore_pfenet"),
        hyper_parameters=PFENET_HYPER_PARAMETERS,
        losses=PfenetLossOptions,
        read_published=Later("pfenet.released_names", "read_release"),
        is_published=Later("pfenet.released_names", "is_release"),
    ),
    "persam": Entry(
        title="PerSAM",
        options=PerSamOptions,
        build=Later("persam.builder", "build_persam"),
        ready=True,
    ),
    "persam_f": Entry(
        title="PerSAM-F",
        options=PerSamFOptions,
        build=Later("persam.builder", "build_persam"),
        ready=True,
    ),
}
READY = {name: entry.options for name, entry in METHODS.items() if entry.ready}
"""The options of those that segment with public weights, without a checkpoint, by name."""
DEFAULT_METHOD = "dc_sam"
"""Also of checkpoints whose header names none."""
TRAINABLE = tuple(name for name, entry in METHODS.items() if entry.hyper_parameters)
PRESET = ("paper", "tiny"), "paper", "defaults of the paper, or of tiny models for a laptop"
"""Of the flag --preset, which decides about others: its values, the default, and its help."""


def training_flags(
    benchmarks: Sequence[str], about: str
) -> tuple[Entry, dict[str, tuple[Sequence[str], str, str]], Mapping[str, Any]]:
    """What a script that takes --method, --preset and --benchmark is told by them.

    Args:
        benchmarks: that there are.
        about: what --method is.

    Returns:
        The method, --method and --preset for `script_parser`, and the defaults of other flags.
    """
    choices = {"method": (TRAINABLE, DEFAULT_METHOD, about), "preset": PRESET}
    early = early_flags(
        method=(TRAINABLE, DEFAULT_METHOD), preset=PRESET[:2], benchmark=(benchmarks, "pascal")
    )
    entry = METHODS[early["method"]]
    return entry, choices, entry.hyper_parameters[early["preset"]][early["benchmark"]]
