"""The whole tool on a Ray of this machine: slow, because Ray takes its time to start."""

import io
import json
import os
import signal
import subprocess
import sys
import tarfile
import time

import psutil
import pytest
from PIL import Image

import predict
from common.files import ROOT
from tests.helpers import coloured_cells, save_reference, save_tiny_checkpoint
from tools import label_cluster

pytest.importorskip("ray.data", reason="requirements-cluster.txt is not installed")
import pyarrow as pa
from pyarrow import parquet

PICTURES = 24
HERE = ("--device", "cpu", "--object_store_mb", "200", "--actors", "2", "--cpus_per_actor", "0.5")


@pytest.fixture(autouse=True)
def lively_workers(monkeypatch):
    """Ray's workers, which are nicer than everything else, would starve on a busy machine."""
    monkeypatch.setenv("RAY_worker_niceness", "0")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


@pytest.fixture(scope="module")
def given(tmp_path_factory):
    """A folder with photos/, one of them broken, and flags that say what to look for."""
    root = tmp_path_factory.mktemp("given")
    (root / "photos").mkdir()
    for number in range(PICTURES):
        cells = coloured_cells(number, (60 + number, 50))
        Image.fromarray(cells).save(root / "photos" / f"{number:02d}.png")
    (root / "photos" / "05a.jpg").write_bytes(b"no image")
    checkpoint = save_tiny_checkpoint(root / "last.safetensors")
    return root, ("--ckpt", checkpoint, *save_reference(root))


@pytest.fixture(scope="module")
def expected(given, tmp_path_factory):
    """What predict.py finds: name of a picture -> its entry and annotations."""
    root, wanted = given
    out = tmp_path_factory.mktemp("predicted")
    flags = ("--target", root / "photos", "--output", out, "--device", "cpu", "--no_overlays")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["predict.py", *map(str, (*wanted, *flags))])
        assert predict.main() == 1
    return found_in(json.loads((out / "coco.json").read_text()))


def found_in(coco):
    annotations = {}
    for one in coco["annotations"]:
        plain = {name: value for name, value in one.items() if name not in ("id", "image_id")}
        annotations.setdefault(one["image_id"], []).append(plain)
    return {
        os.path.basename(image["file_name"].rpartition("::")[2]): (
            {n: v for n, v in image.items() if n not in ("id", "file_name", "mask")},
            annotations.get(image["id"], []),
        )
        for image in coco["images"]
    }


def found_by_cluster(out):
    """The same of all COCO shards; no picture is in two of them."""
    found, ids = {}, set()
    for path in sorted((out / "coco").iterdir()):
        coco = json.loads(path.read_text())
        some = found_in(coco)
        assert found.keys().isdisjoint(some)
        found |= some
        ids |= {image["id"] for image in coco["images"]}
    assert len(ids) == len(found)
    return found


def rows_of(out):
    return [
        r for p in sorted((out / "parquet").iterdir()) for r in parquet.read_table(p).to_pylist()
    ]


def start(flags, out):
    command = [sys.executable, "-m", "tools.label_cluster", *map(str, flags)]
    log = out.with_suffix(".log").open("w")
    return subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=log)


def wait_for(condition, process, seconds=1200):
    deadline = time.time() + seconds
    while time.time() < deadline:
        if found := condition():
            return found
        assert process.poll() is None, "it ended before it could be killed"
        time.sleep(0.05)
    pytest.fail("it did not happen in time")


def actors_below(process):
    """The processes of this run that label."""
    below = psutil.Process(process.pid).children(recursive=True)
    return [one for one in below if "MapWorker" in " ".join(one.cmdline())]


@pytest.mark.slow
def test_a_killed_worker_and_a_killed_driver_change_nothing(script, given, expected, tmp_path):
    root, wanted = given
    out = tmp_path / "out"
    flags = (*wanted, "--target", root / "photos", "--output", out, *HERE)
    flags = (*flags, "--shard_size", 3, "--batch", 1)

    def done():
        return len([*(out / "parquet").glob("[!.]*.parquet")]) if out.exists() else 0

    first = start(flags, tmp_path / "first")
    wait_for(done, first)
    one, _ = wait_for(lambda: (a := actors_below(first)) and len(a) == 2 and a, first)
    one.kill()
    before = done()
    wait_for(lambda: done() > before, first)
    first.send_signal(signal.SIGKILL)
    first.wait()
    assert 0 < done() < 9
    kept = {path: path.read_bytes() for path in (out / "parquet").glob("[!.]*")}

    outcome = script(label_cluster, *flags)

    assert outcome.code == 1, outcome.error  # of the broken picture
    assert f"{len(kept)} done before" in outcome.output
    assert "1 pictures failed" in outcome.output
    assert all(path.read_bytes() == content for path, content in kept.items())
    assert len([*(out / "parquet").iterdir()]) == 9
    assert found_by_cluster(out) == expected
    rows = rows_of(out)
    assert len(rows) == PICTURES + 1
    [broken] = [row for row in rows if row["error"]]
    assert broken["name"] == str(root / "photos" / "05a.jpg")
    assert "cannot read the image" in broken["error"]

    again = script(label_cluster, *flags)
    assert "9 shards, 9 done before" in again.output
    assert again.code == 1


@pytest.mark.slow
def test_parquet_and_webdataset_give_what_their_files_give(script, given, expected, tmp_path):
    root, wanted = given
    photos = {path.name: path.read_bytes() for path in sorted((root / "photos").iterdir())}
    names, halves = [*photos], tmp_path / "data"
    halves.mkdir()
    images = [{"bytes": photos[name], "path": name} for name in names[:9]]
    parquet.write_table(pa.table({"image": images, "other": [1] * 9}), halves / "a.parquet")
    for number, some in enumerate((names[9:12], names[12:])):
        with tarfile.open(halves / f"{number}.tar", "w") as tar:
            for name in some:
                for member, content in ((name, photos[name]), (f"{name}.json", b"{}")):
                    info = tarfile.TarInfo(f"train/{member}")
                    info.size = len(content)
                    tar.addfile(info, io.BytesIO(content))
    whole = (halves / "1.tar").read_bytes()
    (halves / "2.tar").write_bytes(whole[: len(whole) // 2])
    parquet.write_table(pa.table({"image": [photos["00.png"], b"no"]}), halves / "plain.parquet")
    parquet.write_table(pa.table({"image": pa.array([], pa.binary())}), halves / "none.parquet")
    (halves / "worse.parquet").write_bytes(b"PAR1")
    out = tmp_path / "out"

    outcome = script(label_cluster, *wanted, "--target", halves, "--output", out, *HERE)

    assert outcome.code == 1, outcome.error
    assert len([*(out / "parquet").iterdir()]) == 7
    by_file = {}
    for row in rows_of(out):
        file, _, place = row["name"].partition("::")
        by_file.setdefault(os.path.basename(file), []).append((place, row["error"]))
    errors = {name: [place for place, error in some if error] for name, some in by_file.items()}
    assert [place for place, _ in by_file["a.parquet"]] == names[:9]
    assert [place for place, _ in by_file["1.tar"]] == [f"train/{name}" for name in names[12:]]
    assert [place for place, _ in by_file["plain.parquet"]] == ["0", "1"]
    assert errors["a.parquet"] == ["05a.jpg"]
    assert (errors["0.tar"], errors["1.tar"]) == ([], [])
    assert errors["plain.parquet"] == ["1"]
    assert errors["worse.parquet"] == [""]
    assert errors["2.tar"] == [""]  # its last row says from where on it is broken
    assert 1 < len(by_file["2.tar"]) < len(by_file["1.tar"])
    found = {}
    for path in (out / "coco").iterdir():
        for name, one in found_in(json.loads(path.read_text())).items():
            assert found.setdefault(name, one) == one
    assert {name: one for name, one in found.items() if name != "0"} == expected
    assert found["0"] == expected["00.png"]
