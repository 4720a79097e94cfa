import pytest

from common.errors import UsageError
from page.methods import KEPT, Methods, Offer


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
    assert "sam2_hiera_tiny.pt (licence: Apache-2.0)" in offer.described()


def test_visitors_begin_with_the_best_whose_weights_are_there_else_with_the_tiny_model(
    monkeypatch, tmp_path
):
    monkeypatch.setenv("DCSAM_WEIGHTS", str(tmp_path))
    methods = Methods.found()
    assert methods.first == "DC-SAM, tiny"
    assert methods.offers[methods.first].drawings_only
    assert "drawn shapes" in methods.offers[methods.first].described()
    best = next(offer for offer in methods.offers.values() if offer.files)
    monkeypatch.setattr("page.methods.missing_files", lambda names: ())
    assert Methods.found().first == best.label
