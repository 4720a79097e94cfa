"""Generated benchmarks in the layouts of real ones, which the real readers read.

python -m data.synthetic voc --root FOLDER
python -m data.synthetic few_shot --root FOLDER
python -m data.synthetic icvos --root FOLDER --videos 40 --frames 16 --seed 9

A class is a pair of shape and texture; a class of VOC is the same pair as COCO's category of that
name. The folders VOC2012, COCO2014, COCO2017 and so on appear in FOLDER when complete. lvis is made
of its COCO2017. few_shot draws objects of its COCO2014 for few-shot instance segmentation, and
lists those of its VOC2012.
What the demos draw is the default, so that they take such a folder.
"""

import argparse
from pathlib import Path

from common.cli import run_script
from data.annotated.catalogue import ADE20K, COCO, LVIS, OBJECTS365
from data.few_shot_instances import SPLITS
from data.semantic import LAYOUTS
from data.spair import FOLDER as SPAIR
from data.synthetic.ade20k_sets import write_ade20k, write_objects365
from data.synthetic.coco_sets import write_coco2017, write_lvis
from data.synthetic.few_shot_sets import write_few_shot_instances
from data.synthetic.folder_sets import FOLDER_SETS, write_folder_set
from data.synthetic.fss1000 import write_fss1000
from data.synthetic.image_sets import write_coco, write_voc
from data.synthetic.paco import write_paco, write_pascal_part
from data.synthetic.spair import write_spair
from data.synthetic.style import DEMO_FRAMES, DEMO_IMAGES, DEMO_VIDEOS
from data.synthetic.video_sets import (
    write_davis,
    write_icvos,
    write_lvos,
    write_mose,
    write_youtube_vos,
)
from data.synthetic.wide_sets import write_wide_set

_FOLDERS = {
    "voc": "VOC2012",
    "coco": "COCO2014",
    "icvos": "IC-VOS",
    "davis": "DAVIS",
    "lvos": "LVOS",
    "mose": "MOSE",
    "ytvos": "YouTube-VOS-2018",
    "ytvos19": "YouTube-VOS-2019",
    "fss1000": "FSS-1000",
    "coco2017": COCO,
    "lvis": LVIS,
    "ade20k": ADE20K,
    "objects365": OBJECTS365,
    "few_shot": str(SPLITS),
    **{name: LAYOUTS[name].folder for name in ("pc459", "a847")},
    "spair71k": SPAIR,
    "paco_part": "PACO",
    "pascal_part": "PASCAL-Part",
    **{name: one.folder for name, one in FOLDER_SETS.items()},
}


def main() -> int:
    defaults = {
        split: ", ".join(f"{DEMO_IMAGES[layout][split]} for {layout}" for layout in DEMO_IMAGES)
        for split in ("train", "val")
    }
    parser = argparse.ArgumentParser(
        prog="python -m data.synthetic",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "layout",
        choices=[*_FOLDERS],
        help="images with class masks or with objects, videos with a mask for each class or for "
        "each object, images for evaluation alone, or objects drawn from voc and coco",
    )
    parser.add_argument(
        "--root", type=Path, required=True, help="folder in which the layout's folder is made"
    )
    parser.add_argument(
        "--train",
        type=int,
        help=f"number of training images (default: {defaults['train']}, 200 else)",
    )
    parser.add_argument(
        "--val", type=int, help=f"number of validation images (default: {defaults['val']}, 40 else)"
    )
    parser.add_argument(
        "--classes",
        type=int,
        default=20,
        help="number of classes of what is for evaluation alone (default: %(default)s)",
    )
    parser.add_argument(
        "--videos", type=int, default=DEMO_VIDEOS, help="number of videos (default: %(default)s)"
    )
    parser.add_argument(
        "--frames",
        type=int,
        default=DEMO_FRAMES,
        help="number of frames of each video (default: %(default)s)",
    )
    parser.add_argument(
        "--seed", type=int, default=0, help="seed of all pictures (default: %(default)s)"
    )
    parser.add_argument(
        "--crowded",
        action="store_true",
        help="draw more and smaller objects of more classes in each picture (of coco2017)",
    )
    parser.add_argument(
        "--workers", type=int, help="number of processes that draw (default: one per processor)"
    )
    flags = parser.parse_args()
    if flags.crowded and flags.layout != "coco2017":
        parser.error(f"--crowded is of coco2017, not of {flags.layout}")
    folder = flags.root / _FOLDERS[flags.layout]
    if flags.layout in DEMO_IMAGES:
        asked = {"train": flags.train, "val": flags.val}
        given = {split: count for split, count in asked.items() if count is not None}
        write = {
            "voc": write_voc,
            "coco": write_coco,
            "coco2017": write_coco2017,
            "ade20k": write_ade20k,
            "objects365": write_objects365,
        }[flags.layout]
        how = {"crowded": flags.crowded} if flags.layout == "coco2017" else {}
        write(folder, DEMO_IMAGES[flags.layout] | given, flags.seed, flags.workers, **how)
    elif flags.layout == "lvis":
        write_lvis(folder)
    elif flags.layout == "fss1000":
        write_fss1000(folder, flags.classes, flags.seed, flags.workers)
    elif flags.layout in FOLDER_SETS:
        images = flags.val or 40
        write_folder_set(flags.layout, folder, images, flags.classes, flags.seed, flags.workers)
    elif flags.layout in ("paco_part", "pascal_part"):
        write = write_paco if flags.layout == "paco_part" else write_pascal_part
        write(folder, flags.classes, flags.val or 40, flags.seed, flags.workers)
    elif flags.layout == "spair71k":
        write_spair(folder, flags.classes, flags.seed, flags.workers)
    elif flags.layout in ("pc459", "a847"):
        images = {"train": flags.train or 200, "val": flags.val or 40}
        write_wide_set(flags.layout, folder, flags.classes, images, flags.seed, flags.workers)
    elif flags.layout == "few_shot":
        write_few_shot_instances(flags.root, seed=flags.seed, workers=flags.workers)
    else:
        videos = {
            "icvos": write_icvos,
            "davis": write_davis,
            "lvos": write_lvos,
            "mose": write_mose,
            "ytvos": write_youtube_vos,
            "ytvos19": write_youtube_vos,
        }
        write = videos[flags.layout]
        write(folder, flags.videos, flags.frames, flags.seed, flags.workers)
    print(folder)
    return 0


if __name__ == "__main__":
    raise SystemExit(run_script(main))
