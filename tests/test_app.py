"""The real page in a real browser: Debian's Chromium, driven by Playwright."""

import io
import json
import os
import re
import shutil
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from PIL import Image

from common.video_io import FrameReader, VideoWriter
from model import InContextSegmenter
from page.examples import Example, draw_examples
from page.items import Thresholds
from page.methods import DRAWINGS

ROOT = Path(__file__).parent.parent
CHROMIUM = shutil.which("chromium")
PATIENCE = 120_000
"""Milliseconds: busy machines are slow."""
USED_FRAMES = 3
"""Of the example's film: a browser's codec takes long."""

playwright = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")


class Served(NamedTuple):
    """A running page."""

    address: str
    folder: Path
    """Where its temporary folder lies."""


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("temporary")
    nowhere = {"DCSAM_WEIGHTS": str(folder / "weights"), "HF_HUB_CACHE": str(folder / "hub")}
    environment = {**os.environ, **nowhere, "TMPDIR": str(folder), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "app.py", "--port", "0", "--device", "cpu"]
    process = subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout.readline() == "Visitors begin with DC-SAM, tiny\n"
        line = process.stdout.readline()
        yield Served(re.search(r"http://127\.0\.0\.1:\d+", line)[0], folder)
    finally:
        process.terminate()
        process.wait(timeout=60)
    assert not list(folder.iterdir()), "the page leaves files behind"


@pytest.fixture(scope="module")
def examples(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Example]:
    """The page's examples by their titles, in their order; of the film no more than is used."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("page.examples.FRAMES", USED_FRAMES)
        drawn = draw_examples(tmp_path_factory.mktemp("examples"))
    return {example.title: example for example in drawn}


@pytest.fixture(scope="module")
def browser() -> Iterator["playwright.Browser"]:
    with playwright.sync_playwright() as driver:
        playwright.expect.set_options(timeout=PATIENCE)
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@contextmanager
def opened(
    browser: "playwright.Browser", served: Served, **window: Any
) -> Iterator["playwright.Page"]:
    """The page in a new window that knows nothing of others, and may reach nothing else."""
    tab = browser.new_page(**window)
    tab.set_default_timeout(PATIENCE)
    abroad = []
    tab.on("request", lambda request: abroad.append(request.url))
    tab.goto(served.address)
    tab.wait_for_selector("html[data-ready]", state="attached")
    yield tab
    tab.close()
    assert not [url for url in abroad if not url.startswith((served.address, "data:", "blob:"))]


@pytest.fixture
def page(browser: "playwright.Browser", served: Served) -> Iterator["playwright.Page"]:
    with opened(browser, served, viewport={"width": 1280, "height": 1200}) as tab:
        yield tab


@pytest.fixture
def telephone(browser: "playwright.Browser", served: Served) -> Iterator["playwright.Page"]:
    window = {"width": 400, "height": 800}
    with opened(browser, served, viewport=window, is_mobile=True, has_touch=True) as tab:
        yield tab


def paint(page: "playwright.Page", start: tuple[float, float], end: tuple[float, float]) -> None:
    """Draw a stroke between places given as parts of the easel's width and height."""
    canvas = page.locator("#canvas canvas").first
    canvas.scroll_into_view_if_needed()
    box = canvas.bounding_box()
    places = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in (start, end)]
    page.mouse.move(*places[0])
    page.mouse.down()
    page.mouse.move(*places[1], steps=5)
    page.mouse.up()


def choose(page: "playwright.Page", examples: dict[str, Example], title: str) -> Example:
    """Click an example."""
    page.locator("#examples button.thumbnail-item").nth([*examples].index(title)).click()
    return examples[title]


def saved(page: "playwright.Page", button: str) -> bytes:
    """What the browser saves when a button is pressed."""
    with page.expect_download() as download:
        page.click(button)
    return Path(download.value.path()).read_bytes()


def mask_of(archive: zipfile.ZipFile, name: str) -> np.ndarray:
    with archive.open(name) as file:
        return np.array(Image.open(io.BytesIO(file.read())))


def test_an_example_is_painted_found_and_saved(page, examples):
    example = choose(page, examples, "Paint it yourself")
    page.wait_for_selector("#canvas canvas")
    page.wait_for_selector("#targets img")
    paint(page, (0.38, 0.6), (0.41, 0.78))  # along the bar
    page.wait_for_selector("#confirmation img")
    page.click("#find")
    playwright.expect(page.locator("#found img")).to_have_count(6)

    archive = zipfile.ZipFile(io.BytesIO(saved(page, "#save-masks")))
    coco = json.loads(saved(page, "#save-coco"))

    [(photo, _, name)] = example.references
    painted = mask_of(archive, "references/reference_1.png")
    assert painted[260, 134] == 1
    assert 0 < painted.sum() < painted.size / 10
    segmenter = InContextSegmenter.from_checkpoint(DRAWINGS, "cpu")
    concept = segmenter.learn(Image.open(photo), painted.astype(bool))
    threshold = Thresholds.start(segmenter.is_calibrated).presence
    score_name = "presence" if segmenter.is_calibrated else "score"
    for target in example.pictures:
        mask, score = segmenter.segment(Image.open(target), concept, threshold)
        np.testing.assert_array_equal(mask_of(archive, f"{target.stem}.png"), mask)
        [image] = [one for one in coco["images"] if one["file_name"] == target.name]
        assert image[score_name] == {name: pytest.approx(score, abs=1e-4)}
    assert {one["image_id"] for one in coco["annotations"]} <= set(range(1, 7))
    assert any(mask_of(archive, f"{one.stem}.png").any() for one in example.pictures)


def test_files_count_upright_and_at_their_own_size(page, served, examples, tmp_path):
    example = examples["One reference"]
    [(drawn, marked, _)] = example.references
    photo, mask_file, target = (tmp_path / name for name in ("ref.png", "mask.png", "wide.png"))
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by a quarter
    narrow = (0, 0, 384, 300)
    upright, mask = Image.open(drawn).crop(narrow), Image.open(marked).crop(narrow)
    upright.transpose(Image.Transpose.ROTATE_90).save(photo, exif=exif)
    mask.save(mask_file)
    Image.open(example.pictures[1]).resize((1500, 700)).save(target)

    page.set_input_files("#reference input[type=file]", photo)
    page.wait_for_selector("#canvas canvas")
    with page.expect_file_chooser() as chooser:
        page.click("#mask")
    chooser.value.set_files(mask_file)
    page.wait_for_selector("#confirmation img")
    page.set_input_files("#target input[type=file]", target)
    page.wait_for_selector("#targets img")
    page.click("#find")
    playwright.expect(page.locator("#found img")).to_have_count(1)
    archive = zipfile.ZipFile(io.BytesIO(saved(page, "#save-masks")))

    np.testing.assert_array_equal(mask_of(archive, "references/ref.png"), np.array(mask) > 0)
    segmenter = InContextSegmenter.from_checkpoint(DRAWINGS, "cpu")
    concept = segmenter.learn(upright, np.array(mask))
    expected, _ = segmenter.segment(Image.open(target), concept)
    assert expected.shape == (700, 1500)
    assert expected.any()
    np.testing.assert_array_equal(mask_of(archive, "wide.png"), expected)

    [visitors] = served.folder.glob("*/visitors")
    assert list(visitors.iterdir())
    page.close()
    patience = time.monotonic() + PATIENCE / 1000
    while list(visitors.iterdir()) and time.monotonic() < patience:
        time.sleep(0.2)
    assert not list(visitors.iterdir()), "a closed tab leaves files behind"


def test_a_refused_file_is_named_until_the_next_action_and_taken_off(page):
    for zone in ("reference", "target"):
        broken = {"name": f"{zone}-notes.png", "mimeType": "image/png", "buffer": b"no picture"}
        page.set_input_files(f"#{zone} input[type=file]", files=[broken])
        message = page.locator(f"text={zone}-notes.png is not a picture that can be read")
        message.wait_for()
        playwright.expect(page.locator(f"#{zone}")).not_to_contain_text("notes")
        page.click("#find")
        playwright.expect(message).to_have_count(0)


def test_a_bad_file_is_left_out_of_a_drop_and_named(page, tmp_path):
    good, bad = tmp_path / "good.png", tmp_path / "bad.png"
    Image.new("RGB", (60, 40)).save(good)
    bad.write_bytes(b"no picture")
    page.set_input_files("#target input[type=file]", [bad, good])
    playwright.expect(page.locator("#targets img")).to_have_count(1)
    playwright.expect(page.locator("#refused")).to_contain_text(
        "bad.png is not a picture that can be read"
    )
    playwright.expect(page.locator("#target")).not_to_contain_text("bad")


def test_a_file_that_is_too_large_does_not_spoil_a_drop(page, tmp_path):
    good, large = tmp_path / "good.png", tmp_path / "large.mp4"
    Image.new("RGB", (60, 40)).save(good)
    with large.open("wb") as file:
        file.truncate(201 * 2**20)
    page.set_input_files("#target input[type=file]", [large, good])
    playwright.expect(page.locator("#target")).to_contain_text("larger than 200 MB: large.mp4")
    playwright.expect(page.locator("#targets img")).to_have_count(1)


def test_classes_are_told_apart_in_a_video_whose_masks_and_film_are_saved(page, examples, tmp_path):
    choose(page, examples, "Two classes")
    playwright.expect(page.locator("#references img")).to_have_count(1)
    film = tmp_path / "short.mp4"
    with FrameReader(examples["A video"].video) as reader, VideoWriter(film) as short:
        for frame in reader:
            short.write(frame)
    page.click("#target-clear")
    page.set_input_files("#target input[type=file]", film)
    playwright.expect(page.locator("#every")).to_be_visible()
    page.click("#find")
    page.wait_for_selector("#found-film video")
    playwright.expect(page.locator("#note")).to_contain_text("brick square in")
    playwright.expect(page.locator("#note")).to_contain_text("striped star in")
    playwright.expect(page.locator("#note")).to_contain_text(
        "expect no useful masks on photographs"
    )
    archive = zipfile.ZipFile(io.BytesIO(saved(page, "#save-masks")))
    assert sum(name.startswith("short/") for name in archive.namelist()) == USED_FRAMES
    references = [name for name in archive.namelist() if name.startswith("references/")]
    assert [mask_of(archive, name).max() for name in references] == [1, 2]
    coco = json.loads(saved(page, "#save-coco"))
    assert [one["name"] for one in coco["categories"]] == ["brick square", "striped star"]
    assert [one["frame"] for one in coco["images"]] == list(range(USED_FRAMES))
    (tmp_path / "saved.mp4").write_bytes(saved(page, "#save-film"))
    with FrameReader(tmp_path / "saved.mp4") as reader:
        assert len(list(reader)) == USED_FRAMES


def test_a_method_without_weights_says_how_to_get_them_and_another_can_be_chosen(page):
    playwright.expect(page.locator("#about")).to_contain_text("It knows drawn shapes")
    page.locator("#examples button.thumbnail-item").first.click()
    playwright.expect(page.locator("#targets img")).to_have_count(6)
    page.click("#method input")
    page.locator("#method [role=option]", has_text="weights missing").first.click()
    playwright.expect(page.locator("#about")).to_contain_text("tools.weights fetch")
    page.click("#find")
    page.wait_for_selector("text=choose another method")
    page.click("#method input")
    page.locator("#method [role=option]", has_text="DC-SAM, tiny").click()
    playwright.expect(page.locator("#about")).to_contain_text("It knows drawn shapes")
    page.click("#find")
    playwright.expect(page.locator("#found img")).to_have_count(6)


WIDTH = "document.documentElement.scrollWidth"
SMALL = """() => [...document.querySelectorAll("button, input[type=range], #meaning label")]
    .map((part) => [part.innerText || part.ariaLabel, part.getBoundingClientRect()])
    .filter(([name, box]) => box.width > 0 && (box.height < 40 || box.width < 40))
    .map(([name]) => name)"""
"""Names of the buttons and sliders that a finger would miss."""


def test_a_telephone_shows_everything_without_scrolling_sideways(telephone):
    assert telephone.evaluate(WIDTH) == 400
    telephone.locator("#examples button.thumbnail-item").nth(1).tap()
    telephone.wait_for_selector("#canvas canvas")
    playwright.expect(telephone.locator("#targets img")).to_have_count(6)
    assert telephone.evaluate(WIDTH) == 400
    telephone.locator("#find").tap()
    playwright.expect(telephone.locator("#found img")).to_have_count(6)
    assert telephone.evaluate(WIDTH) == 400
    assert telephone.evaluate(SMALL) == []
    with telephone.expect_download() as download:
        telephone.locator("#save-masks").tap()
    assert download.value.suggested_filename == "masks.zip"
