import contextlib
import io
import json

import cv2
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

import eval_instance


@pytest.fixture(scope="module")
def flags(few_shot):
    """Flags of a short evaluation."""
    return (
        *("--method", "insid3", "--size", "tiny", "--datapath", few_shot, "--seeds", 2),
        *("--test_images", 4, "--nworker", 0, "--device", "cpu", "--sheet_rows", 2),
    )


@pytest.fixture(scope="module")
def evaluated(flags, tmp_path_factory):
    """The folder of a short evaluation."""
    folder = tmp_path_factory.mktemp("evaluated")
    with pytest.MonkeyPatch.context() as patch:
        words = ["eval_instance.py", *map(str, flags), "--output", str(folder)]
        patch.setattr("sys.argv", words)
        assert eval_instance.main() == 0
    return folder


def results_of(folder):
    results = json.loads((folder / "results.json").read_text())
    for timed in (results, *results["draws"]):
        for name in ("seconds", "cost", "seconds_per_image"):
            timed.pop(name, None)
    return results


def test_results_are_those_of_pycocotools_own_call(evaluated, few_shot):
    results = results_of(evaluated)
    truth = json.loads((few_shot / "cocosplit" / "datasplit" / "5k.json").read_text())
    novel = {1, 2, 3, 4, 5, 6, 7, 9, 16, 17, 18, 19, 20, 21, 44, 62, 63, 64, 67, 72}
    for draw in results["draws"]:
        lines = (evaluated / f"seed{draw['seed']}" / "items.jsonl").read_text().splitlines()
        found = [one for line in lines for one in json.loads(line)["objects"]]
        for kind, word, dropped in (
            ("box", "bbox", "segmentation"),
            ("mask", "segm", "bbox"),
        ):
            plain = [{k: v for k, v in one.items() if k != dropped} for one in found]
            with contextlib.redirect_stdout(io.StringIO()):
                reference = COCO()
                reference.dataset = truth
                reference.createIndex()
                call = COCOeval(reference, reference.loadRes(plain), word)
                call.params.imgIds, call.params.catIds = [1, 2, 3, 4], sorted(novel)
                call.evaluate()
                call.accumulate()
                call.summarize()
            expected = dict(zip(("ap", "ap50", "ap75"), 100 * call.stats[:3], strict=True))
            assert {name: draw[kind][name] for name in expected} == pytest.approx(expected)
            assert expected["ap50"] > 0


def test_an_evaluation_tells_mean_deviation_and_exposure(evaluated):
    results = results_of(evaluated)
    for kind in ("box", "mask"):
        one, two = (draw[kind]["ap"] for draw in results["draws"])
        assert results[kind]["ap"] == pytest.approx((one + two) / 2)
        assert results[kind]["deviation"]["ap"] == pytest.approx(abs(one - two) / 2**0.5)
        assert results[kind]["per_class"].keys() == results["draws"][0][kind]["per_class"].keys()
    assert (results["exposure"], results["objects"]) == ("strict", "parted masks")
    assert (results["benchmark"], results["shots"], results["images"]) == ("coco_novel", 1, 4)
    assert cv2.imread(str(evaluated / "contact_sheet.png")).shape[2] == 3


def test_an_interrupted_evaluation_goes_on(script, flags, evaluated, tmp_path, monkeypatch):
    # a killed run of two processes: two images are done, and one line was cut off
    lines = (evaluated / "seed0" / "items.jsonl").read_text().splitlines(keepends=True)
    (tmp_path / "seed0").mkdir()
    for place in ("settings.json", "seed0/settings.json"):
        (tmp_path / place).write_bytes((evaluated / place).read_bytes())
    (tmp_path / "seed0" / "items.jsonl").write_text(lines[2])
    (tmp_path / "seed0" / "items-1.jsonl").write_text(lines[0] + lines[1][:40])
    seen = []
    find = eval_instance.InstanceFinder.find
    monkeypatch.setattr(
        eval_instance.InstanceFinder,
        "find",
        lambda self, opened: seen.append(opened.picture.image_id) or find(self, opened),
    )

    assert script(eval_instance, *flags, "--output", tmp_path).code == 0

    assert seen == [2, 4, 1, 2, 3, 4]
    assert results_of(tmp_path) == results_of(evaluated)


def test_a_folder_with_other_results_is_refused(script, flags, evaluated):
    outcome = script(eval_instance, *flags, "--output", evaluated, "--test_images", 3)
    assert outcome.code == 2
    assert "other settings (truth)" in outcome.error


def test_more_draws_are_added_to_those_that_are_there(script, flags, tmp_path):
    small = (*flags, "--test_images", 1, "--output", tmp_path)
    assert script(eval_instance, *small, "--seeds", 1).code == 0
    results = results_of(tmp_path)
    assert results["mask"]["deviation"]["ap"] is None
    assert script(eval_instance, *small, "--seeds", 2).code == 0
    assert results_of(tmp_path)["draws"][0] == results["draws"][0]


def test_voc_is_tested_by_its_own_words(script, flags, tmp_path):
    more = ("--benchmark", "coco2voc", "--test_images", 1, "--seeds", 1, "--output", tmp_path)
    assert script(eval_instance, *flags, *more).code == 0
    truth = {"person", "bicycle", "car", "motorbike", "aeroplane", "bus", "train", "boat", "bird"}
    assert results_of(tmp_path)["mask"]["per_class"].keys() & truth


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        (("--seeds", 0), "--seeds must be from 1 to 10, not 0"),
        (("--seeds", 3), "missing: "),
        (("--nshot", 5), "missing: "),
        (("--datapath", "nowhere"), "--datapath: no such folder: nowhere"),
        (("--ckpt", __file__), "give --ckpt, the checkpoint to evaluate, or --method"),
    ],
)
def test_wrong_use_gets_one_line(script, flags, tmp_path, wrong, told):
    outcome = script(eval_instance, *flags, "--output", tmp_path, *wrong)
    assert outcome.code == 2
    assert told in outcome.error
    assert len(outcome.error.strip().splitlines()) == 1


@pytest.mark.slow
def test_any_number_of_processes_gives_the_same_numbers(torchrun, flags, evaluated, tmp_path):
    torchrun(2, "eval_instance.py", *flags, "--output", tmp_path)
    assert results_of(tmp_path) == results_of(evaluated)
