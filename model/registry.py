"""Every method by name: the one place that knows all of them."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn

from common.pair_rules import PairRules
from model.dc_sam.config import HYPER_PARAMETERS, DcSamOptions, build_dc_sam, restore_dc_sam
from model.dc_sam.export_steps import STEPS
from model.dc_sam.released_names import is_release, read_release
from model.insid3.config import Insid3Options, build_insid3
from model.insid3.export_steps import STEPS as INSID3_STEPS
from model.matcher.config import MatcherOptions, build_matcher
from model.method import Method
from model.method_options import LossOptions
from model.persam.config import PerSamFOptions, PerSamOptions, build_persam
from model.sansa.config import HYPER_PARAMETERS as SANSA_HYPER_PARAMETERS
from model.sansa.config import SansaOptions, build_sansa, restore_sansa
from model.sansa.config import read_release as read_sansa_release
from model.sansa.export_steps import STEPS as SANSA_STEPS
from model.sansa.released_names import is_release as is_sansa_release
from model.segic.config import HYPER_PARAMETERS as SEGIC_HYPER_PARAMETERS
from model.segic.config import SegicOptions, build_segic, restore_segic
from model.segic.config import read_release as read_segic_release
from model.segic.export_steps import STEPS as SEGIC_STEPS
from model.segic.released_names import is_release as is_segic_release
from model.segic.training import SegicLossOptions
from model.segic.training import pair_rules as segic_pairs
from model.sine.config import HYPER_PARAMETERS as SINE_HYPER_PARAMETERS
from model.sine.config import SineOptions, build_sine, restore_sine
from model.sine.config import read_release as read_sine_release
from model.sine.released_names import is_release as is_sine_release
from model.sine.training import SineLossOptions, pair_rules
from model.vrp_sam.config import HYPER_PARAMETERS as VRP_SAM_HYPER_PARAMETERS
from model.vrp_sam.config import VrpSamOptions, build_vrp_sam, restore_vrp_sam
from model.vrp_sam.released_names import is_release as is_vrp_sam_release
from model.vrp_sam.released_names import read_release as read_vrp_sam_release


def _never(names: Collection[str]) -> bool:
    return False


@dataclass(frozen=True)
class Entry:
    """How a method is configured, built and restored."""

    title: str
    """What people call it."""
    options: Any
    """Its flags, a `model.method_options.MethodOptions`."""
    build: Callable[[Any], Method]
    """From options: frozen parts with their weights, the learnable part seeded by torch."""
    ready: bool = False
    """Whether it segments as it is built, with public weights and without a checkpoint."""
    restore: Callable[[Any, dict[str, Tensor], object], Method] | None = None
    """From options, a checkpoint's weights, and what to call it in messages; None: it has none."""
    hyper_parameters: Mapping[str, Mapping[str, Mapping[str, Any]]] = field(default_factory=dict)
    """Preset -> benchmark or stage -> defaults of flags; empty where it does not train."""
    losses: Any = LossOptions
    """Flags of what its training minimises."""
    pairs: Callable[[int, Any], Mapping[str, tuple[PairRules, str]]] | None = None
    """From the side of the square and the flags of `losses`: by a source's name or kind, how pairs
    are made of it, and what is drawn first, a "class" or an "image"; None: it learns from
    episodes, which may be made of pairs, too."""
    read_published: Callable[..., tuple[Any, dict[str, Tensor]]] | None = None
    """Options and weights of a checkpoint of the method's own published program, by its path; and,
    where the method prompts a SAM that the file does not hold, by that SAM's variant."""
    is_published: Callable[[Collection[str]], bool] = _never
    """Whether tensors of these names, without `module.`, are of such a checkpoint."""
    export_steps: Mapping[str, Callable[[Any, int], nn.Module]] = field(default_factory=dict)
    """Name -> from a method and the side of pictures, a step to export; in the order of use."""


METHODS: dict[str, Entry] = {
    "dc_sam": Entry(
        title="DC-SAM",
        options=DcSamOptions,
        build=build_dc_sam,
        restore=restore_dc_sam,
        hyper_parameters=HYPER_PARAMETERS,
        read_published=read_release,
        is_published=is_release,
        export_steps=STEPS,
    ),
    "insid3": Entry(
        title="INSID3",
        options=Insid3Options,
        build=build_insid3,
        ready=True,
        export_steps=INSID3_STEPS,
    ),
    "matcher": Entry(
        title="Matcher",
        options=MatcherOptions,
        build=build_matcher,
        ready=True,
    ),
    "sansa": Entry(
        title="SANSA",
        options=SansaOptions,
        build=build_sansa,
        ready=True,
        restore=restore_sansa,
        hyper_parameters=SANSA_HYPER_PARAMETERS,
        read_published=read_sansa_release,
        export_steps=SANSA_STEPS,
        is_published=is_sansa_release,
    ),
    "sine": Entry(
        title="SINE",
        options=SineOptions,
        build=build_sine,
        ready=True,
        restore=restore_sine,
        hyper_parameters=SINE_HYPER_PARAMETERS,
        losses=SineLossOptions,
        pairs=pair_rules,
        read_published=read_sine_release,
        is_published=is_sine_release,
    ),
    "segic": Entry(
        title="SegIC",
        options=SegicOptions,
        build=build_segic,
        ready=True,
        restore=restore_segic,
        hyper_parameters=SEGIC_HYPER_PARAMETERS,
        losses=SegicLossOptions,
        pairs=segic_pairs,
        read_published=read_segic_release,
        is_published=is_segic_release,
        export_steps=SEGIC_STEPS,
    ),
    "vrp_sam": Entry(
        title="VRP-SAM",
        options=VrpSamOptions,
        build=build_vrp_sam,
        restore=restore_vrp_sam,
        hyper_parameters=VRP_SAM_HYPER_PARAMETERS,
        read_published=read_vrp_sam_release,
        is_published=is_vrp_sam_release,
    ),
    "persam": Entry(title="PerSAM", options=PerSamOptions, build=build_persam, ready=True),
    "persam_f": Entry(title="PerSAM-F", options=PerSamFOptions, build=build_persam, ready=True),
}
READY = {name: entry.options for name, entry in METHODS.items() if entry.ready}
"""The options of those that segment with public weights, without a checkpoint, by name."""
DEFAULT_METHOD = "dc_sam"
"""Also of checkpoints whose header names none."""
