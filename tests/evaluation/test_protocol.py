import pytest

from common.cli import value_problems
from common.errors import UsageError
from data.classes import BENCHMARKS, TESTED
from data.few_shot_instances import INSTANCE_BENCHMARKS
from data.sampler import SAMPLERS
from data.semantic import LAYOUTS
from data.video_benchmarks import SPLITS, VideoDataOptions
from eval_correspondence import CorrespondenceOptions
from eval_semantic import SemanticOptions
from evaluation.exposure import Exposure
from evaluation.protocol import (
    ANY_CLASSES,
    OTHER_CLASSES,
    Followed,
    Protocol,
    all_protocols,
    protocol_names,
)
from evaluation.scoring_size import ScoringSize
from evaluation.subject_options import SubjectOptions, parse_subject

OF_SCRIPT = {
    "eval_image.py": TESTED,
    "eval_semantic.py": tuple(LAYOUTS),
    "eval_instance.py": INSTANCE_BENCHMARKS,
    "eval_correspondence.py": ("spair71k",),
    "eval_video.py": tuple(SPLITS),
}


@pytest.mark.parametrize("name", all_protocols())
def test_a_file_says_everything(name):
    protocol = all_protocols()[name]
    assert protocol.benchmark in OF_SCRIPT[protocol.script]
    assert protocol.trained in (OTHER_CLASSES, ANY_CLASSES)
    assert protocol.pool
    assert protocol.source
    assert ScoringSize(protocol.size).name == protocol.size
    if protocol.script == "eval_image.py":
        assert protocol.sampler in SAMPLERS
        assert not protocol.settings
    if protocol.script == "eval_semantic.py":
        assert not value_problems(SemanticOptions(**protocol.settings))
    if protocol.script == "eval_correspondence.py":
        assert not value_problems(CorrespondenceOptions(**protocol.settings))
    if protocol.script == "eval_video.py":
        assert protocol.settings.keys() <= VideoDataOptions().deciding.keys()


@pytest.mark.parametrize("script", OF_SCRIPT)
def test_every_benchmark_has_a_protocol(script):
    assert {all_protocols()[name].benchmark for name in protocol_names(script)} == {
        *OF_SCRIPT[script]
    }


def test_a_benchmark_of_episodes_has_one_of_its_own_name():
    assert set(BENCHMARKS) < set(protocol_names())
    assert set(TESTED) <= set(protocol_names())
    assert Protocol.named(None, "coco").episodes == 1000
    assert Protocol.named("coco_legacy", None).benchmark == "coco"
    with pytest.raises(UsageError, match="--protocol coco_legacy is one of coco, not of pascal"):
        Protocol.named("coco_legacy", "pascal")


@pytest.mark.parametrize(
    ("options", "name", "changes"),
    [
        ({}, "icvos", ()),
        ({"nshot": 5, "max_frames": 9}, "icvos", ("max_frames 9", "nshot 5")),
        ({"seed": 2}, "icvos", ("seed 2",)),
        ({"first_frame": "oracle"}, "icvos_oracle", ()),
        ({"first_frame": "oracle", "seed": 2}, "icvos_oracle", ()),  # nothing is drawn
        ({"first_frame": "masks"}, "icvos_masks", ()),
        ({"benchmark": "davis"}, "davis", ()),
        ({"benchmark": "davis", "first_frame": "oracle"}, "davis", ()),  # they are given anyhow
        (
            {"benchmark": "davis16", "tested_split": "train", "void": True},
            "davis16",
            ("split train", "void"),
        ),
        ({"benchmark": "ytvos19", "all_frames": True}, "ytvos19", ("all_frames",)),
        ({"benchmark": "ytvos18", "first_objects": True}, "ytvos18_first_objects", ()),
    ],
)
def test_flags_amount_to_the_nearest_protocol(options, name, changes):
    data = VideoDataOptions(**options)
    found = {**data.deciding, "size": ("512 squashed", "original")}
    if data.benchmark != "icvos":
        found["size"] = ("original", "original")
    followed = Protocol.followed("eval_video.py", data.benchmark, found, None)
    assert (followed.protocol.name, followed.changes) == (name, changes)


def test_what_is_not_as_in_the_named_protocol_is_told():
    found = {"first_frame": ("prompt", "prompt"), "size": ("64 squashed", "original")}
    followed = Protocol.followed("eval_video.py", "icvos", found, "icvos_oracle")
    assert followed.changes == ("first_frame prompt", "size 64 squashed")
    assert str(followed) == "protocol icvos_oracle, first_frame prompt, size 64 squashed"
    with pytest.raises(UsageError, match="icvos_oracle is one of icvos, not of davis"):
        Protocol.followed("eval_video.py", "davis", {}, "icvos_oracle")


@pytest.mark.parametrize(
    ("name", "word", "told"),
    [
        ("coco", "in-domain", ["trained on tested classes"]),
        ("coco", "strict", []),
        ("coco", "unknown", []),
        ("coco_all", "in-domain", []),
    ],
)
def test_a_number_in_domain_is_no_strict_one(name, word, told):
    results = Followed(all_protocols()[name]).results(Exposure(word))
    assert results["protocol"] == name
    assert results["protocol_size"] == "512 squashed"
    assert results["protocol_changes"] == told


def test_a_named_protocol_gives_flags_their_values(monkeypatch, tmp_path):
    words = ("--method", "sansa", "--datapath", str(tmp_path), "--protocol", "a847_present")
    monkeypatch.setattr("sys.argv", ["eval_semantic.py", *words, "--references", "training"])
    groups = (SemanticOptions, SubjectOptions)
    (options, _), _ = parse_subject("", groups, "eval_semantic.py")
    found = (options.benchmark, options.form, options.self_reference, options.a847_shifted_names)
    assert found == ("a847", "present", "silenced", True)
    assert str(options.followed) == "protocol a847_present, references training"
