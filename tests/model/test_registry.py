"""The registry: flags at once, networks and their packages when something is built."""

import dataclasses
import subprocess
import sys

import pytest

from common.files import ROOT
from model.backbones.backbone import BUILDERS, SHRUNK
from model.backbones.sizes import BACKBONES
from model.registry import METHODS, Later
from model.sam import sam1
from model.sam.names import SAM_MODELS


def test_what_is_imported_later_is_there():
    for entry in METHODS.values():
        values = [getattr(entry, field.name) for field in dataclasses.fields(entry)]
        for value in values:
            if isinstance(value, Later):
                assert value.get() is not None


def test_names_are_those_of_networks():
    assert set(BACKBONES) == set(BUILDERS)
    assert set(BACKBONES) <= set(SHRUNK)
    assert set(SAM_MODELS[1]) == set(sam1.SIZES)


def test_flags_need_no_torch():
    """A program that only tells what flags there are does not pay for networks."""
    code = "import model.registry, sys; print('torch' in sys.modules, 'timm' in sys.modules)"
    told = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert told.stdout.split() == ["False", "False"]


def test_an_unknown_name_is_noticed():
    with pytest.raises(AttributeError):
        Later("dc_sam.builder", "build_nothing").get()
