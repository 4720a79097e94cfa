import numpy as np
import pytest
from PIL import Image

from common.errors import UsageError
from common.video_io import VideoWriter
from model import InContextSegmenter
from page.items import Mark, Thresholds
from page.limits import PageLimits
from page.methods import KEPT, Methods, Offer
from page.results import label_pictures, label_video
from page.session import Session


def offers(count, missing=()):
    return [
        Offer(f"m{n}", "good", lambda n=n: [n], tuple(missing) if n == 0 else ())
        for n in range(count)
    ]


def test_methods_are_built_once_and_the_last_used_stay():
    methods = Methods(offers(KEPT + 1), "m0")
    first = methods.segmenter("m0")
    assert methods.segmenter("m0") is first
    for n in range(1, KEPT + 1):
        methods.segmenter(f"m{n}")
    assert methods.segmenter("m0") is not first


def test_a_method_without_weights_says_what_it_needs_and_on_what_terms(monkeypatch, tmp_path):
    monkeypatch.setenv("DCSAM_WEIGHTS", str(tmp_path / "mine"))
    [offer] = offers(1, missing=["sam2_hiera_t"])
    assert offer.line == "m0 · weights missing"
    told = offer.described()
    assert "tools.weights fetch sam2_hiera_t" in told
    assert "156 MB" in told
    assert "Apache-2.0" in told
    assert str(tmp_path) not in told
    with pytest.raises(UsageError, match=r"m0 lacks weights \(sam2_hiera_t\)"):
        Methods([offer], "m0").segmenter("m0")


def test_a_method_with_weights_tells_their_licence(monkeypatch, tmp_path):
    monkeypatch.setenv("DCSAM_WEIGHTS", str(tmp_path))
    (tmp_path / "sam2_hiera_tiny.pt").touch()
    [offer] = offers(1, missing=["sam2_hiera_t"])
    assert offer.line == "m0"
    assert "weights are here: sam2_hiera_tiny.pt" in offer.described()
    assert "licence: Apache-2.0" in offer.described()


def test_visitors_begin_with_the_best_whose_weights_are_there_else_with_the_tiny_model(
    monkeypatch, tmp_path
):
    monkeypatch.setenv("DCSAM_WEIGHTS", str(tmp_path))
    methods = Methods.found()
    assert methods.first == "DC-SAM, tiny"
    assert methods.offers[methods.first].drawings_only
    assert "drawn shapes" in methods.offers[methods.first].described()
    best = next(offer for offer in methods.offers.values() if offer.files)
    monkeypatch.setattr("page.methods.absent", lambda names: ())
    assert Methods.found().first == best.label


def test_references_are_learned_again_by_each_method(tmp_path):
    session = Session(tmp_path / "visitor", PageLimits())
    pixels = np.random.default_rng(0).integers(0, 255, (60, 80, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "photo.png")
    session.open_reference(tmp_path / "photo.png")
    mark = np.zeros((60, 80), dtype=bool)
    mark[20:40, 30:60] = True
    session.keep_draft(Mark(mark), "thing")
    shown = session.references(None, "object")
    with VideoWriter(tmp_path / "film.mp4") as film:
        film.write(pixels)
    tiny = {
        "insid3": {"size": "tiny"},
        "sansa": {"sam_model": "tiny", "image_size": 128},
        "segic": {"size": "tiny"},
    }
    for method, options in tiny.items():
        segmenter = InContextSegmenter.from_method(method, "cpu", **options)
        session.add_targets([tmp_path / "photo.png"])
        [found] = label_pictures(session, segmenter, shown, lambda *_: None).pictures
        assert found.labels(Thresholds()).classes.shape == (60, 80)
        session.set_video(tmp_path / "film.mp4")
        results = label_video(session, segmenter, shown, 0, lambda *_: None)
        [frame] = results.labelled()
        assert frame.labels(Thresholds()).classes.shape == (60, 80)
        assert results.method == method
