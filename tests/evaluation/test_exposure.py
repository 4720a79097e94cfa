import json

import pytest

import eval_image
from common.checkpoint import read_facts, read_weights, save_checkpoint
from common.errors import UsageError
from evaluation.episodes import TestedData
from evaluation.exposure import Exposure, TrainingData


def trained_on(benchmark: str, fold: int = 0) -> dict:
    return {"data": {"benchmark": benchmark, "fold": fold, "nshot": 1}}


def exposure(facts: dict, benchmark: str, fold: int) -> Exposure:
    return Exposure.of_fold(facts, benchmark, fold)


@pytest.mark.parametrize(
    ("trained", "tested", "word"),
    [
        (("pascal", 0), ("pascal", 0), "unseen"),
        (("pascal", 1), ("pascal", 0), "seen"),
        (("coco", 2), ("coco", 2), "unseen"),
        (("coco", 2), ("coco", 3), "seen"),
        (("coco", 1), ("coco2pascal", 1), "unseen"),  # table 12
        (("coco2pascal", 1), ("coco", 1), "unseen"),  # the same training
        (("coco", 1), ("coco2pascal", 0), "seen"),
        (("coco", 0), ("pascal", 0), "seen"),  # bicycle, bird, boat and bottle
        (("coco_all", 0), ("coco_all", 0), "seen"),
        (("coco_mask_tube", 0), ("pascal", 3), "seen"),
    ],
)
def test_classes_are_compared_by_what_they_mean(trained, tested, word):
    assert exposure(trained_on(*trained), *tested).word == word


def test_the_seen_classes_are_told_in_the_numbers_of_the_test():
    # pascal fold 0 trains on all but aeroplane, bicycle, bird, boat, bottle; coco fold 1 tests
    # bicycle (2), bus (6), traffic light (10), ... every fourth category
    found = exposure(trained_on("pascal", 0), "coco", 1)
    assert found.seen == (6, 18, 58)  # bus, horse, couch (which VOC calls sofa)


@pytest.mark.parametrize("facts", [{}, {"data": {}}, {"data": {"benchmark": "mine", "fold": 0}}])
def test_nothing_is_claimed_of_a_checkpoint_that_does_not_say(facts):
    assert exposure(facts, "pascal", 0) == Exposure("data unknown")


def test_older_headers_of_training_on_videos_say_it_elsewhere():
    facts = {"stage": {"benchmark": "coco_mask_tube", "nshot": 1}}
    assert TrainingData.of(facts) == TrainingData("coco_mask_tube", 0)
    assert exposure(facts, "pascal", 0).word == "seen"


def test_the_header_decides_what_the_flags_leave_open():
    facts = trained_on("coco", 3)
    data = TestedData().completed(facts, "last.safetensors")
    assert (data.benchmark, data.fold) == ("coco", 3)
    data = TestedData(benchmark="coco2pascal").completed(facts, "last.safetensors")
    assert (data.benchmark, data.fold) == ("coco2pascal", 3)
    data = TestedData().completed({"stage": {"benchmark": "coco_mask_tube"}}, "last.safetensors")
    assert (data.benchmark, data.fold) == ("coco_all", 0)


def test_classes_that_were_trained_on_are_refused_unless_they_are_asked_for():
    facts = trained_on("pascal", 1)
    with pytest.raises(UsageError, match=r"trained on pascal fold 1.* 5 of the 5 .*--seen_classes"):
        TestedData(fold=0).completed(facts, "last.safetensors")
    assert TestedData(fold=0, seen_classes=True).completed(facts, "last.safetensors").fold == 0


def test_a_header_without_data_has_to_be_made_up_for():
    with pytest.raises(UsageError, match="does not say what it was trained on"):
        TestedData(benchmark="pascal").completed({}, "last.safetensors")
    assert TestedData(benchmark="pascal", fold=2).completed({}, "last.safetensors").fold == 2


@pytest.fixture
def flags(trained, generated):
    return (
        *("--ckpt", trained, "--datapath", generated, "--test_episodes", 3),
        *("--nworker", 0, "--device", "cpu", "--sheet_rows", 1),
    )


def test_results_say_whether_the_classes_were_seen(script, flags, trained, tmp_path):
    own = script(eval_image, *flags, "--output", tmp_path / "own")
    assert own.code == 0, own.error
    assert "unseen classes" in own.output
    refused = script(eval_image, *flags, "--fold", 1, "--output", tmp_path / "other")
    assert refused.code == 2
    assert "--seen_classes" in refused.error
    other = script(
        eval_image, *flags, "--fold", 1, "--seen_classes", "--output", tmp_path / "other"
    )
    assert other.code == 0, other.error
    assert "unseen" not in other.output
    assert " seen classes" in other.output

    facts = {name: v for name, v in read_facts(trained).items() if name not in ("data", "version")}
    save_checkpoint(tmp_path / "imported.safetensors", read_weights(trained), facts)
    unknown = script(
        eval_image,
        *flags,
        *("--ckpt", tmp_path / "imported.safetensors", "--benchmark", "pascal", "--fold", 1),
        *("--output", tmp_path / "unknown"),
    )
    assert unknown.code == 0, unknown.error
    assert "data unknown" in unknown.output

    found = [json.loads((tmp_path / n / "results.json").read_text()) for n in ("own", "other")]
    assert [results["classes"] for results in found] == ["unseen", "seen"]
    assert found[0]["seen_classes"] == []
    assert len(found[1]["seen_classes"]) == 5
    results = json.loads((tmp_path / "unknown" / "results.json").read_text())
    assert (results["classes"], results["trained_on"]) == ("data unknown", None)


def test_whole_data_sets_beside_a_fold_count_as_all_of_cocos_classes():
    data = {"benchmark": "coco", "fold": 2, "sources": "benchmark,lvis"}
    strict = {"data": {**data, "exclusion": "strict"}}
    published = {"data": {**data, "exclusion": "published"}}
    assert exposure(strict, "coco", 2).word == "unseen"
    assert exposure(published, "coco", 2).word == "seen"
    assert len(exposure(published, "pascal", 2).seen) == 5
    assert str(TrainingData.of(published)) == "coco_all"
