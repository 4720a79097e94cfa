"""Methods with a memory of their own follow objects whose masks are given."""

from pathlib import Path

import numpy as np
import pytest

import eval_video
from data.synthetic.video_sets import write_davis, write_youtube_vos
from data.youtube_vos import YouTubeVos
from tests.video_cases import mask_of, read, write_frames, write_masks

SANSA = ("--method", "sansa", "--sam_model", "tiny", "--image_size", "64")
METHODS = {
    "sansa": SANSA,
    "persam": ("--method", "persam", "--sam_model", "tiny"),
    **{name: ("--method", name, "--size", "tiny") for name in ("segic", "sine")},
    "matcher": ("--method", "matcher", "--size", "tiny", "--max_frames", 2),
}


@pytest.fixture(scope="module")
def videos(tmp_path_factory) -> Path:
    """DAVIS and YouTube-VOS, drawn."""
    root = tmp_path_factory.mktemp("data")
    write_davis(root / "DAVIS", videos=1, frames=4, seed=1, workers=0)
    write_youtube_vos(root / "YouTube-VOS", videos=2, frames=11, seed=1, workers=0)
    return root


def evaluate(script, folder: Path, *flags: object) -> dict:
    outcome = script(eval_video, *flags, "--device", "cpu", "--output", folder)
    assert outcome.code == 0, outcome.error
    return read(folder) | {"printed": outcome.output}


@pytest.mark.parametrize(
    "method",
    [
        *(name for name in METHODS if name != "matcher"),
        pytest.param("matcher", marks=pytest.mark.slow),
    ],
)
def test_davis_by_a_method_of_its_own(script, videos, tmp_path, method):
    root = videos / "DAVIS"
    flags = (*METHODS[method], "--davis_path", root, "--save_masks")
    results = evaluate(script, tmp_path, "--benchmark", "davis", *flags)
    assert (results["items"], results["failed"]) == (1, {})
    assert 0 <= results["jf"] <= 100
    first = root / "Annotations/480p/video_0001/00000.png"
    given = tmp_path / "masks/video_0001/00000.png"
    assert np.array_equal(mask_of(given), mask_of(first))


def test_davis_2016_knows_one_object_a_video(script, videos, tmp_path):
    flags = (*SANSA, "--davis_path", videos / "DAVIS", "--save_masks")
    evaluate(script, tmp_path, "--benchmark", "davis16", *flags)
    [record] = read(tmp_path, "items.jsonl")
    assert list(record["objects"]) == ["1"]
    assert set(np.unique(mask_of(tmp_path / "masks/video_0001/00000.png"))) == {0, 1}


def test_seen_and_unseen_categories_make_g(script, videos, tmp_path):
    flags = (*SANSA, "--ytvos18_path", videos / "YouTube-VOS", "--split", "train")
    results = evaluate(script, tmp_path, "--benchmark", "ytvos18", *flags)
    objects = [o for r in read(tmp_path, "items.jsonl") for o in r["objects"].values()]
    means = []
    for name, seen in (("seen", True), ("unseen", False)):
        mine = [one for one in objects if one["seen"] is seen and one["jf"] is not None]
        assert mine
        for score in ("j", "f"):
            mean = np.mean([one[score] for one in mine])
            assert results[name][score] == pytest.approx(mean)
            means.append(mean)
    assert results["g"] == pytest.approx(np.mean(means))
    assert (results["protocol"], results["protocol_changes"]) == ("ytvos18", ["split train"])
    assert results["exposure"] == "strict"  # SAM 2 learned no class
    assert "unseen categories" in results["printed"]
    assert f"G, the mean of their J and F: {results['g']:.1f}" in results["printed"]


@pytest.mark.parametrize("all_frames", [False, True])
def test_the_server_of_youtube_vos_gets_ids_on_the_frames_it_asks_for(
    script, videos, tmp_path, all_frames
):
    root = videos / "YouTube-VOS"
    flags = (*SANSA, "--ytvos19_path", root, "--save_masks", *["--all_frames"][: int(all_frames)])
    results = evaluate(script, tmp_path, "--benchmark", "ytvos19", *flags)
    assert (results["jf"], results["g"]) == (None, None)
    told = f"nothing says where the objects are; the masks are in {tmp_path / 'masks'}"
    assert f"no frame could be scored: {told}" in results["printed"]
    benchmark = YouTubeVos(root)
    written = tmp_path / "masks" / "Annotations"
    assert sorted(path.name for path in written.iterdir()) == benchmark.videos
    for name in benchmark.videos:
        assert sorted(p.stem for p in (written / name).iterdir()) == ["00000", "00005", "00010"]
        found = benchmark.objects(name)
        for place, stem in enumerate(("00000", "00005")):
            labels = mask_of(written / name / f"{stem}.png")
            begun = {n for n, frame in found.given.items() if frame <= place}
            assert set(np.unique(labels)) <= {0, *begun}
            for number, frame in found.given.items():
                if frame == place:
                    truth = found.video.read_mask(frame) == number
                    assert np.array_equal(labels == number, truth)


def test_only_the_objects_of_the_first_mask_are_those_of_segics_release(script, videos, tmp_path):
    root = videos / "YouTube-VOS"
    flags = (*SANSA, "--ytvos18_path", root, "--first_objects", "--save_masks")
    evaluate(script, tmp_path, "--benchmark", "ytvos18", *flags)
    benchmark = YouTubeVos(root)
    given = {name: benchmark.objects(name).given for name in benchmark.videos}
    assert any(frame for one in given.values() for frame in one.values())
    for record in read(tmp_path, "items.jsonl"):
        first = [str(n) for n, frame in given[record["video"]].items() if frame == 0]
        assert list(record["objects"]) == first


def test_mose_is_read_and_written_in_its_layout(script, tmp_path):
    part = tmp_path / "MOSE" / "valid"
    mask = np.zeros((48, 64), np.uint8)
    mask[10:30, 10:40], mask[30:40, 40:60] = 1, 2
    write_frames(part / "JPEGImages" / "clip", [mask > 0] * 3)
    write_masks(part / "Annotations" / "clip", {0: mask})
    flags = ("--benchmark", "mose", "--mose_path", tmp_path / "MOSE", *SANSA, "--save_masks")
    assert evaluate(script, tmp_path / "out", *flags)["jf"] is None
    written = sorted(path.name for path in (tmp_path / "out/masks/clip").iterdir())
    assert written == ["00000.png", "00001.png", "00002.png"]
    assert np.array_equal(mask_of(tmp_path / "out/masks/clip/00000.png"), mask)


def test_flags_of_other_benchmarks_are_refused(script, videos, tmp_path):
    for given, words in (
        (("--benchmark", "davis", "--all_frames"), "--all_frames is of YouTube-VOS"),
        (("--first_objects",), "--first_objects needs a benchmark with numbered objects"),
        (("--benchmark", "davis", "--sam2_cfg", "tiny"), "sansa has no part in it"),
    ):
        outcome = script(eval_video, *SANSA, *given, "--output", tmp_path)
        assert outcome.code == 2
        assert words in outcome.error


def test_who_forgets_the_servers_masks_is_told_at_once(script, videos, tmp_path):
    flags = ("--benchmark", "ytvos18", "--ytvos18_path", videos / "YouTube-VOS", *SANSA)
    flags += ("--max_frames", 1, "--device", "cpu")
    outcome = script(eval_video, *flags, "--output", tmp_path / "out")
    assert outcome.code == 0
    assert "truth of ytvos18 lies on its server: --save_masks writes" in outcome.error
    again = script(eval_video, *flags, "--output", tmp_path / "out", "--save_masks")
    assert again.code == 2, again.error
