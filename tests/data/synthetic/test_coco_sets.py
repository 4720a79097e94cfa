from statistics import fmean

import pytest

from common.errors import UsageError
from data.synthetic.coco_sets import write_coco2017
from data.synthetic.objects import offset_pictures
from data.synthetic.pictures import draw_picture
from data.synthetic.style import BENCHMARK_STYLE, COCO_PAIRS, CROWDED_STYLE


def test_crowded_pictures_have_more_and_smaller_objects_of_more_classes():
    pictures = offset_pictures("coco2017", {"train": 16, "val": 0}, seed=0)
    plain, crowded = (
        [draw_picture(picture, COCO_PAIRS, style) for picture in pictures]
        for style in (BENCHMARK_STYLE, CROWDED_STYLE)
    )

    def means(drawn):
        objects = fmean(len(one.classes) for one in drawn)
        classes = fmean(len(set(one.classes)) for one in drawn)
        area = sum((one.instances > 0).sum() for one in drawn) / sum(len(o.classes) for o in drawn)
        return objects, classes, area

    for few, many in zip(means(plain)[:2], means(crowded)[:2], strict=True):
        assert many > few + 1
    assert means(crowded)[2] < means(plain)[2]


def test_crowded_pictures_are_other_data(tmp_path):
    write_coco2017(tmp_path / "COCO2017", {"train": 1, "val": 1}, workers=0, crowded=True)
    write_coco2017(tmp_path / "COCO2017", {"train": 1, "val": 1}, workers=0, crowded=True)
    with pytest.raises(UsageError, match="something else"):
        write_coco2017(tmp_path / "COCO2017", {"train": 1, "val": 1}, workers=0)
