import json
from pathlib import Path

import pytest

import eval_image
from common.checkpoint import read_facts, read_weights, save_checkpoint
from common.errors import UsageError
from eval_video import exposure_of
from evaluation.episodes import TestedData
from evaluation.exposure import Exposure, TrainingData
from model.checkpoint import imported_facts
from model.dc_sam.config import DcSamOptions
from model.method_options import trained_on_all
from model.sansa.config import SansaOptions
from model.segic.config import SegicOptions
from model.sine.config import SineOptions


def trained_on(benchmark: str, fold: int = 0) -> dict:
    return {"data": {"benchmark": benchmark, "fold": fold, "nshot": 1}}


def exposure(facts: dict, benchmark: str, fold: int) -> Exposure:
    return Exposure.of_fold(facts, benchmark, fold)


@pytest.mark.parametrize(
    ("trained", "tested", "word"),
    [
        (("pascal", 0), ("pascal", 0), "strict"),
        (("pascal", 1), ("pascal", 0), "in-domain"),
        (("coco", 2), ("coco", 2), "strict"),
        (("coco", 2), ("coco", 3), "in-domain"),
        (("coco", 1), ("coco2pascal", 1), "strict"),  # table 12
        (("coco2pascal", 1), ("coco", 1), "strict"),  # the same training
        (("coco", 1), ("coco2pascal", 0), "in-domain"),
        (("coco", 0), ("pascal", 0), "in-domain"),  # bicycle, bird, boat and bottle
        (("coco_all", 0), ("coco_all", 0), "in-domain"),
        (("coco_mask_tube", 0), ("pascal", 3), "in-domain"),
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
    assert exposure(facts, "pascal", 0) == Exposure("unknown")


def test_older_headers_of_training_on_videos_say_it_elsewhere():
    facts = {"stage": {"benchmark": "coco_mask_tube", "nshot": 1}}
    assert TrainingData.of(facts) == TrainingData("coco_mask_tube", 0)
    assert exposure(facts, "pascal", 0).word == "in-domain"


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
    with pytest.raises(UsageError, match=r"does not say what it was trained on.*name --fold"):
        TestedData(benchmark="pascal").completed({}, "last.safetensors")
    with pytest.raises(UsageError, match="name --benchmark and --fold"):
        TestedData().completed({}, "last.safetensors")
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
    assert ", strict\n" in own.output
    refused = script(eval_image, *flags, "--fold", 1, "--output", tmp_path / "other")
    assert refused.code == 2
    assert "--seen_classes" in refused.error
    other = script(
        eval_image, *flags, "--fold", 1, "--seen_classes", "--output", tmp_path / "other"
    )
    assert other.code == 0, other.error
    assert ", in-domain\n" in other.output

    facts = {name: v for name, v in read_facts(trained).items() if name not in ("data", "version")}
    save_checkpoint(tmp_path / "imported.safetensors", read_weights(trained), facts)
    unknown = script(
        eval_image,
        *flags,
        *("--ckpt", tmp_path / "imported.safetensors", "--benchmark", "pascal", "--fold", 1),
        *("--output", tmp_path / "unknown"),
    )
    assert unknown.code == 0, unknown.error
    assert ", unknown\n" in unknown.output

    found = [json.loads((tmp_path / n / "results.json").read_text()) for n in ("own", "other")]
    assert [results["exposure"] for results in found] == ["strict", "in-domain"]
    assert found[0]["seen_classes"] == []
    assert len(found[1]["seen_classes"]) == 5
    results = json.loads((tmp_path / "unknown" / "results.json").read_text())
    assert (results["exposure"], results["trained_on"]) == ("unknown", None)


def test_whole_data_sets_beside_a_fold_count_as_all_of_cocos_classes():
    data = {"benchmark": "coco", "fold": 2, "sources": "benchmark,lvis"}
    strict = {"data": {**data, "exclusion": "strict"}}
    published = {"data": {**data, "exclusion": "published"}}
    assert exposure(strict, "coco", 2).word == "strict"
    assert exposure(published, "coco", 2).word == "in-domain"
    assert len(exposure(published, "pascal", 2).seen) == 5
    assert str(TrainingData.of(published)) == "coco_all"


def test_a_data_set_that_was_trained_on_is_seen_but_for_what_was_left_out():
    # fold 2 of coco tests car, which ADE20K shows, too; nobody left its walls out
    data = {"benchmark": "coco", "fold": 2, "sources": "benchmark=2, ade20k_semantic"}
    facts = {"data": {**data, "exclusion": "strict"}}
    found = Exposure.of_names(facts, {1: "wall", 21: "car"}, "ade20k")
    assert (found.word, found.seen) == ("in-domain", (1,))
    assert Exposure.of_names(facts, {1: "wall"}, "coco") == Exposure("unknown")
    assert found.results(facts, {1: "wall"})["trained_on"] == "coco fold 2 with ade20k"


def test_other_sources_show_the_rest_of_cocos_categories():
    # pascal fold 0 keeps aeroplane, bicycle, bird, boat and bottle. Of what coco fold 1 tests, the
    # other 15 of VOC are bus, horse and couch; LVIS shows all 20 but bicycle (2)
    data = {"benchmark": "pascal", "fold": 0, "sources": "benchmark,lvis"}
    assert exposure({"data": data}, "coco", 1).seen == tuple(range(6, 81, 4))


@pytest.mark.parametrize(
    ("benchmark", "fold", "word"),
    [("lvis92i", 3, "strict"), ("lvis92i", 4, "in-domain"), ("fss1000", 0, "unknown")],
)
def test_a_training_on_other_classes_of_the_same_benchmark(benchmark, fold, word):
    facts = trained_on("lvis92i", 3)
    assert Exposure.of_names(facts, {1: "abacus"}, benchmark, fold).word == word
    assert exposure(facts, "coco", 0).word == "unknown"


def test_what_is_not_known_of_a_data_set_is_not_claimed():
    names = {1: "abacus"}
    assert Exposure.of_names(trained_on("coco_all"), names).word == "strict"
    facts = {"data": trained_on_all("lvis")}
    assert Exposure.of_names(facts, names).word == "unknown"
    assert Exposure.of_names(facts, names, "lvis92i").word == "in-domain"
    assert Exposure.of_names({"untrained": True}, names, "lvis92i").word == "strict"
    assert Exposure.unnamed(trained_on("coco_all")).word == "unknown"


@pytest.mark.parametrize(
    ("adapters", "data"),
    [
        ("sansa_coco_fold2", ("coco", 2)),
        ("somewhere/adapter_lvis_fold9.pth", ("lvis92i", 9)),
        ("sansa_fss", ("fss1000", 0)),
        ("adapter_mine.pth", None),
    ],
)
def test_public_weights_tell_by_their_names_what_they_learned(adapters, data):
    facts = {"data": SansaOptions(adapters=adapters).trained_on()}
    assert TrainingData.of(facts) == (data and TrainingData(*data))


@pytest.mark.parametrize(
    ("options", "file", "told"),
    [
        (SansaOptions(), "adapter_coco_fold2.pth", "coco fold 2"),
        (SansaOptions(), "mine.pth", None),
        (SegicOptions(), "segic_dinov2_l_80kx12e.pth", "coco_all with ade20k, coco, lvis"),
        (SegicOptions(), "decoder.pth", None),
        (SineOptions(), "pytorch_model.bin", "coco_all with ade20k, coco, objects365"),
        (SineOptions(), "last.bin", None),
        (DcSamOptions(), "fold0.pt", None),
    ],
)
def test_a_published_file_tells_by_its_name_what_it_learned(options, file, told):
    trained = TrainingData.of(imported_facts(options, Path("somewhere", file)))
    assert (trained and trained.told) == told


def test_a_header_of_another_benchmark_decides_for_itself():
    data = TestedData().completed(trained_on("lvis92i", 7), "adapter_lvis_fold7.pth")
    assert (data.benchmark, data.fold) == ("lvis92i", 7)
    with pytest.raises(UsageError, match="name the --fold of coco"):
        TestedData(benchmark="coco").completed(trained_on("lvis92i", 7), "adapter_lvis_fold7.pth")


def test_objects_of_videos_are_compared_by_their_categories():
    facts = trained_on("coco", 0)  # fold 0 tests person, so training did not see one
    records = {"a": {"objects": {"1": {"category": "person"}, "2": {"category": "duck"}}}}
    found, names = exposure_of(records, {}, facts)
    assert [names[c] for c in found.seen] == ["duck"]  # a bird, which fold 0 trains on
    assert exposure_of({"a": {"objects": {"1": {"jf": 1.0}}}}, {}, facts)[0] == Exposure("unknown")
    assert exposure_of({}, {1: "person"}, facts)[0] == Exposure("strict")
