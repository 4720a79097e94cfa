import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

import eval_semantic
from common.geometry import Geometry
from data.semantic import References, open_semantic
from data.synthetic.wide_sets import write_wide_set
from evaluation.semantic import SemanticSegmenter, TestedImages, score_image, summarise
from tools import prepare

CLASSES = 5
METHOD = ("--method", "sansa", "--sam_model", "tiny", "--adapters", "fresh", "--image_size", 64)


@pytest.fixture(scope="module")
def a847(tmp_path_factory):
    """A folder that holds a small generated A-847."""
    root = tmp_path_factory.mktemp("data")
    folder = root / "ADE20K_2021_17_01"
    write_wide_set("a847", folder, CLASSES, {"train": 15, "val": 2}, workers=0)
    return root


@pytest.fixture
def flags(a847):
    return (
        *(*METHOD, "--benchmark", "a847", "--datapath", a847),
        *("--nworker", 0, "--device", "cpu", "--sheet_rows", 1),
    )


def results_of(folder):
    results = json.loads((folder / "results.json").read_text())
    return {name: value for name, value in results.items() if name != "seconds"}


class Truthful:
    """Finds exactly what the truth shows of the class that a support was made of."""

    geometry = Geometry(128)

    def __init__(self, images):
        self.truth = {}
        self.images = images
        self.calls = []

    def features(self, images, support_only=False, sizes=None):
        return images

    def encode_support(self, images, masks, kinds=None, names=None):
        assert masks.any()
        return names[0]

    def predict_together(self, images, supports):
        self.calls.append(supports)
        ids = {name: c for c, name in self.images.class_names.items()}
        found = [torch.from_numpy(self.labels == ids[name]) for name in supports]
        return [SimpleNamespace(logits=mask[None].float() * 10 - 5) for mask in found]


@pytest.mark.parametrize("form", ["full", "present"])
def test_the_truth_scores_100_and_only_the_full_form_asks_for_all(a847, form):
    images = open_semantic("a847", a847, "validation")
    method = Truthful(images)
    references = References.draw(open_semantic("a847", a847, "training"), seed=0)
    segmenter = SemanticSegmenter(method, references, form, torch.device("cpu"))
    records = {}
    for image in TestedImages(images, list(images.files), method.geometry):
        method.labels = image.labels.numpy()
        record, _ = score_image(segmenter, image, False)
        records[image.name] = record
        asked = len(method.calls[-1])
        shown = int((torch.unique(image.labels) > 0).sum())
        assert asked == (CLASSES if form == "full" else shown)
    scores = summarise(records, images.class_names, references)
    assert scores["miou"] == pytest.approx(100)
    assert scores["images"] == 2


def test_false_positives_count_in_the_full_form_only(a847):
    images = open_semantic("a847", a847, "validation")
    name = next(iter(images.files))
    image = TestedImages(images, [name], Geometry(128))[0]
    shown = [c for c in torch.unique(image.labels).tolist() if c > 0]
    other = next(c for c in range(1, CLASSES + 1) if c not in shown)
    references = References.draw(open_semantic("a847", a847, "training"), seed=0)

    class Everywhere(Truthful):
        def predict_together(self, images, supports):
            found = super().predict_together(images, supports)
            for one, name in zip(found, supports, strict=True):
                if name == self.images.class_names[other]:
                    one.logits.fill_(20)
            return found

    unions = {}
    for form in ("full", "present"):
        method = Everywhere(images)
        method.labels = image.labels.numpy()
        segmenter = SemanticSegmenter(method, references, form, torch.device("cpu"))
        record, _ = score_image(segmenter, image, False)
        unions[form] = {c: (both, either) for c, both, either, _ in record["areas"]}
    counted = int((image.labels >= 0).sum())
    assert unions["full"][other] == (0, counted)
    assert all(unions["full"][c][0] == 0 for c in shown)
    assert other not in unions["present"]
    assert all(both == either > 0 for both, either in unions["present"].values())


def test_an_image_is_never_its_own_reference(a847):
    images = open_semantic("a847", a847, "validation")
    references = References.draw(images, seed=0)
    for class_id, names in references.names.items():
        for name in names:
            found = references.of(class_id, name, same_images=True)
            assert found != name
            assert found is not None or len(names) == 1
        assert references.of(class_id, names[0], same_images=False) == names[0]


def test_as_published_the_image_itself_is_asked_for_and_nothing_is_said(a847):
    images = open_semantic("a847", a847, "validation")
    references = References.draw(images, seed=0)
    class_id, (name, *_) = next(iter(references.names.items()))

    class Silenced(Truthful):
        def silence(self, support):
            return f"nothing of {support}"

        def predict_together(self, images, supports):
            spoken = [name.removeprefix("nothing of ") for name in supports]
            found = super().predict_together(images, spoken)
            self.calls[-1] = supports
            return found

    image = TestedImages(images, [name], Geometry(128))[0]
    asked = {}
    for rule in ("other", "silenced"):
        method = Silenced(images)
        method.labels = image.labels.numpy()
        segmenter = SemanticSegmenter(
            method, references, "present", torch.device("cpu"), self_reference=rule
        )
        score_image(segmenter, image, True)
        asked[rule] = method.calls[-1] if method.calls else []
    assert f"nothing of {images.class_names[class_id]}" in asked["silenced"]
    assert not any(name.startswith("nothing") for name in asked["other"])


def test_labels_start_at_zero_and_the_published_names_are_shifted(a847):
    plain = open_semantic("a847", a847, "validation")
    shifted = open_semantic("a847", a847, "validation", shifted_names=True)
    name = next(iter(plain.files))
    with Image.open(plain.files[name].mask) as stored:
        values = np.array(stored).astype(int)
    labels, published = plain.read(name)[1], shifted.read(name)[1]
    assert np.array_equal(labels, np.where(values == 65535, -1, values + 1))
    assert np.array_equal(published, np.where(labels == 1, -1, labels))
    assert shifted.class_names == {c: plain.class_names[c - 1] for c in range(2, CLASSES + 1)}


@pytest.mark.slow
def test_processes_change_nothing(script, torchrun, flags, tmp_path):
    whole, parts = (tmp_path / name for name in ("whole", "parts"))
    outcome = script(eval_semantic, *flags, "--output", whole)
    assert outcome.code == 0, outcome.error
    torchrun(2, "eval_semantic.py", *flags, "--output", parts)
    assert results_of(whole) == results_of(parts)
    assert (whole / "contact_sheet.png").read_bytes() == (parts / "contact_sheet.png").read_bytes()


def test_an_interrupted_evaluation_goes_on(script, flags, tmp_path):
    whole, cut = (tmp_path / name for name in ("whole", "cut"))
    outcome = script(eval_semantic, *flags, "--output", whole)
    assert outcome.code == 0, outcome.error
    assert (whole / "contact_sheet.png").is_file()

    cut.mkdir()
    (cut / "settings.json").write_bytes((whole / "settings.json").read_bytes())
    lines = (whole / "items.jsonl").read_text().splitlines(keepends=True)
    spoilt = json.loads(lines[0])
    spoilt["areas"] = []
    (cut / "items.jsonl").write_text(json.dumps(spoilt) + "\n")
    assert script(eval_semantic, *flags, "--output", cut).code == 0
    after = (cut / "items.jsonl").read_text().splitlines(keepends=True)
    assert json.loads(after[0]) == spoilt  # what is done is not done again
    assert after[1:] == lines[1:]

    refused = script(eval_semantic, *flags, "--form", "present", "--output", whole)
    assert refused.code == 2
    assert "other settings (form)" in refused.error


def test_the_published_form_has_its_name(script, flags, tmp_path):
    published = ("--form", "present", "--references", "validation", "--a847_shifted_names")
    outcome = script(
        eval_semantic, *flags, *published, "--no_names", "--images", 1, "--output", tmp_path / "out"
    )
    assert outcome.code == 0, outcome.error
    results = results_of(tmp_path / "out")
    assert results["protocol"] == "a847_present"
    others = ["self_reference other", "no_names", "images 1"]
    assert results["protocol_changes"] == others
    assert results["images"] == 1
    assert results["names"] is False
    assert len(results["per_class"]) + len(results["classes_without_reference"]) <= CLASSES - 1


def test_what_differs_from_the_published_counts_is_told(tmp_path, capsys):
    folder = tmp_path / "VOC2010"
    write_wide_set("pc459", folder, CLASSES, {"train": 3, "val": 1}, workers=0)
    assert prepare.main(["pc459", "--root", str(tmp_path)]) == 0
    (folder / "benchmark.json").unlink()  # now it passes for the real one
    assert prepare.main(["pc459", "--root", str(tmp_path)]) == 1
    told = capsys.readouterr().out
    assert f"classes: {CLASSES} instead of 459" in told
    assert "validation images: 1 instead of 5105" in told
    assert prepare.main(["a847", "--root", str(tmp_path)]) == 1
    assert "groups.csail.mit.edu" in capsys.readouterr().out


def test_other_data_and_wrong_use_are_refused_in_a_line(script, flags, a847, tmp_path):
    outcome = script(eval_semantic, *flags, "--self_reference", "silenced")
    assert outcome.code == 2
    assert "sansa cannot be told nothing" in outcome.error
    outcome = script(eval_semantic, *flags, "--benchmark", "pc459")
    assert outcome.code == 2
    assert "holds no VOC2010" in outcome.error
    outcome = script(eval_semantic, *flags, "--benchmark", "ade20k", "--a847_shifted_names")
    assert "is for a847, not for ade20k" in outcome.error
    folder = tmp_path / "ADE20K_2021_17_01"
    write_wide_set("a847", folder, CLASSES, {"train": 3, "val": 1}, workers=0)
    (folder / "classes.txt").write_text("one\ntwo\n")
    outcome = script(eval_semantic, *flags, "--datapath", tmp_path)
    assert outcome.code == 2
    assert "which is no class (0-2, 65535)" in outcome.error
    (folder / "classes.txt").unlink()
    outcome = script(eval_semantic, *flags, "--datapath", tmp_path)
    assert "names no classes" in outcome.error
