"""Generated benchmarks in the layouts of VOC, COCO, IC-VOS and DAVIS, which the real readers read.

python -m data.synthetic voc --root FOLDER --train 2400 --val 600 --seed 0
python -m data.synthetic coco --root FOLDER --train 4000 --val 1000 --seed 0
python -m data.synthetic icvos --root FOLDER --videos 40 --frames 16 --seed 0
python -m data.synthetic davis --root FOLDER --videos 40 --frames 16 --seed 0

A class is a pair of shape and texture; a class of VOC is the same pair as COCO's category of that
name. The folders VOC2012, COCO2014, IC-VOS and DAVIS appear in FOLDER when they are complete.
"""

import argparse
import sys
from pathlib import Path

from common.errors import UsageError
from data.synthetic.image_sets import write_coco, write_voc
from data.synthetic.video_sets import write_davis, write_icvos

_FOLDERS = {"voc": "VOC2012", "coco": "COCO2014", "icvos": "IC-VOS", "davis": "DAVIS"}


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "layout",
        choices=[*_FOLDERS],
        help="images of 20 classes or 80; videos with a mask for each class or for each object",
    )
    parser.add_argument(
        "--root", type=Path, required=True, help="folder to put VOC2012, COCO2014, IC-VOS, DAVIS in"
    )
    parser.add_argument("--train", type=int, default=2400, help="training images (default: 2400)")
    parser.add_argument("--val", type=int, default=600, help="validation images (default: 600)")
    parser.add_argument("--videos", type=int, default=40, help="videos (default: 40)")
    parser.add_argument("--frames", type=int, default=16, help="of each video (default: 16)")
    parser.add_argument("--seed", type=int, default=0, help="decides every picture (default: 0)")
    parser.add_argument("--workers", type=int, help="processes (default: one per processor)")
    flags = parser.parse_args()
    folder = flags.root / _FOLDERS[flags.layout]
    images = {"train": flags.train, "val": flags.val}
    try:
        if flags.layout in ("voc", "coco"):
            write = {"voc": write_voc, "coco": write_coco}[flags.layout]
            write(folder, images, flags.seed, flags.workers)
        else:
            write = {"icvos": write_icvos, "davis": write_davis}[flags.layout]
            write(folder, flags.videos, flags.frames, flags.seed, flags.workers)
    except (UsageError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(folder)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
