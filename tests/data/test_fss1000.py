import json
import shutil

import pytest

import eval_image
from common.errors import UsageError
from data.benchmarks import Split
from data.fss1000 import Fss1000
from data.sampler import EpisodeSampler
from data.synthetic.fss1000 import write_fss1000
from tools import prepare

CLASSES = 3


@pytest.fixture(scope="module")
def fss1000(tmp_path_factory):
    """A folder that holds a generated FSS-1000."""
    root = tmp_path_factory.mktemp("data")
    write_fss1000(root / "FSS-1000", CLASSES, workers=0)
    return root


def split_of(root, **options):
    return Split(Fss1000(root / "FSS-1000", **options), images="test", classes="test")


def test_every_image_is_a_query_once_and_never_its_own_support(fss1000):
    keys = EpisodeSampler(split_of(fss1000), 5, seed=0).evaluation_keys(None)

    assert len({key.query for key in keys}) == len(keys) == 10 * CLASSES
    assert [key.class_id for key in keys[:4]] == [760, 761, 762, 760]
    for key in keys:
        assert len({key.query, *key.support}) == 6
        folders = {name.partition("/")[0] for name in (key.query, *key.support)}
        assert len(folders) == 1


def test_classes_have_their_folders_names_or_plain_words(fss1000):
    plain, own = split_of(fss1000), split_of(fss1000, folder_names=True)
    [first, *_] = plain.class_names.values()
    assert " " in first
    assert own.class_names[760] == first.replace(" ", "_")
    image, mask = plain.read_class(f"{own.class_names[760]}/1", 760)
    assert image.shape == (*mask.shape, 3)
    assert 0 < mask.mean() < 1
    assert not plain.read_class(f"{own.class_names[760]}/1", 761)[1].any()


def test_it_is_evaluated_under_its_protocols(fss1000, script, tmp_path):
    method = ("--method", "sansa", "--sam_model", "tiny", "--adapters", "fresh")
    flags = (*method, "--image_size", 128, "--datapath", fss1000, "--device", "cpu")
    flags = (*flags, "--nworker", 0, "--sheet_rows", 1, "--test_episodes", 4)
    outcome = script(eval_image, *flags, "--benchmark", "fss1000", "--output", tmp_path / "a")
    assert outcome.code == 0, outcome.error
    outcome = script(
        eval_image, *flags, "--protocol", "fss1000_legacy", "--output", tmp_path / "b", "--no_names"
    )
    assert outcome.code == 0, outcome.error

    ours, legacy = (json.loads((tmp_path / n / "results.json").read_text()) for n in "ab")
    assert (ours["protocol"], legacy["protocol"]) == ("fss1000", "fss1000_legacy")
    assert ours["protocol_changes"] == ["episodes 4"]
    assert ours["sampler"] == "queries"
    assert legacy["sampler"] == "queries_legacy"
    assert len(ours["per_class"]) == 3
    assert len(legacy["per_class"]) == 1  # it goes through one class after the other
    assert legacy["names"] is False

    outcome = script(eval_image, *flags, "--benchmark", "fss1000", "--baselines")
    assert outcome.code == 2
    assert "no training images" in outcome.error
    pascal = ("--benchmark", "pascal", "--fold", 0)
    outcome = script(eval_image, *flags, *pascal, "--protocol", "fss1000")
    assert outcome.code == 2
    assert "fss1000 is one of fss1000, not of pascal" in outcome.error


def test_what_is_missing_is_told(fss1000, tmp_path, capsys):
    root = tmp_path / "data"
    shutil.copytree(fss1000, root)
    assert prepare.main(["fss1000", "--root", str(root)]) == 0
    first = split_of(root, folder_names=True).class_names[760]
    (root / "FSS-1000" / first / "3.png").unlink()
    assert prepare.main(["fss1000", "--root", str(root)]) == 1
    assert f"1 images have no mask: {first}/3" in capsys.readouterr().out
    (root / "FSS-1000" / "benchmark.json").unlink()  # now it passes for the real one
    assert prepare.main(["fss1000", "--root", str(root)]) == 1
    assert "tested classes: 3 instead of 240" in capsys.readouterr().out
    shutil.rmtree(root / "FSS-1000" / first)
    with pytest.raises(UsageError, match=f"no images of 1 tested classes: {first}"):
        _ = split_of(root).class_lists
    (root / "FSS-1000" / "test.txt").unlink()
    with pytest.raises(UsageError, match=r"lacks test\.txt or fss_test_set\.txt"):
        split_of(root)
