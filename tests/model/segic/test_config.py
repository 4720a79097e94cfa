import pytest
import torch

from common.checkpoint import save_checkpoint
from common.errors import UsageError
from model.checkpoint import learnable_weights, load_method
from model.predictor import InContextSegmenter
from model.segic.config import SegicOptions, stored_path
from model.segic.text import HashedSentences, save_sentences
from tests.model.segic.conftest import SIDE, build

CLIP = ("clip_l", "clip_l_tokenizer")


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """A folder of weights without any."""
    monkeypatch.setenv("DCSAM_WEIGHTS", str(tmp_path))
    return tmp_path


def test_which_files_are_read():
    assert SegicOptions().files() == ("dinov2_l", "segic_l_160k", *CLIP)
    assert SegicOptions(size="g", decoder="fresh").files() == ("dinov2_g", *CLIP)
    assert SegicOptions(size="tiny").files() == ()
    assert SegicOptions(shrunk=True).files() == ()


def test_who_reads_no_names_needs_clip_once(folder):
    options = SegicOptions(text="none")
    assert options.files() == ("dinov2_l", "segic_l_160k", *CLIP)
    save_sentences(HashedSentences(), stored_path())
    assert options.files() == ("dinov2_l", "segic_l_160k")
    assert SegicOptions(text="name").files()[2:] == CLIP


def test_missing_files_are_named_in_one_line():
    with pytest.raises(UsageError) as failure:
        InContextSegmenter.from_method("segic", device="cpu")
    message = str(failure.value)
    assert "python -m tools.weights fetch dinov2_l segic_l_160k clip_l clip_l_tokenizer" in message
    assert "\n" not in message


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"image_size": 900}, "multiple of 14 and of 4"),
        ({"image_size": 14}, "multiple of 14 and of 4"),
        ({"size": "tiny", "image_size": 100}, "multiple of 8 and of 4"),
        ({"size": "tiny", "decoder": "segic_l_80k"}, "no use for a released --decoder"),
        ({"shrunk": True, "decoder": "segic_l_80k"}, "no use for a released --decoder"),
        ({"random_weights": True, "dino_weights": "x"}, "no use for --dino_weights"),
        ({"size": "tiny", "dino_weights": "x"}, "no use for --dino_weights"),
    ],
)
def test_what_does_not_go_together_is_told(options, problem):
    found = SegicOptions(**options).problems()
    assert len(found) == 1
    assert problem in found[0]
    assert SegicOptions().problems() == []


def test_released_decoders_have_seen_cocos_classes():
    assert SegicOptions().trained_on()["sources"] == "ade20k_semantic,coco_instance,lvis"
    assert SegicOptions(size="b").trained_on() is None


def test_a_checkpoint_is_the_same_model(tmp_path):
    model = build()
    path = tmp_path / "segic.safetensors"
    weights = learnable_weights(model)
    assert {name.partition(".")[0] for name in weights} == {"decoder"}
    fourier = "decoder.prompt_encoder.pe_layer.positional_encoding_gaussian_matrix"
    weights[fourier].copy_(torch.randn(weights[fourier].shape))  # other than any seed draws
    options = SegicOptions(shrunk=True, image_size=SIDE)
    save_checkpoint(path, weights, {"method": "segic", "model": options.to_json()})
    loaded, facts = load_method(path, torch.device("cpu"))
    assert facts["method"] == "segic"
    assert model.untrained
    assert not loaded.untrained
    assert "never trained" in InContextSegmenter(model).caution
    assert InContextSegmenter(loaded).caution is None
    for name, value in model.decoder.state_dict().items():
        assert torch.equal(loaded.decoder.state_dict()[name], value), name


def test_what_learns_is_the_decoder_alone():
    model = build()
    assert {n.split(".")[0] for n, p in model.named_parameters() if p.requires_grad} == {"decoder"}
    model.train()
    assert not model.backbone.training
