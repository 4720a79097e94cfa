"""What backbones are called and how they cut pictures into patches: names and numbers alone."""

BACKBONES = ("vgg16", "resnet50", "resnet101", "swin_b", "dinov2_b", "dinov2_b_reg", "tiny")
"""Of prompt generators."""
PATCH = 14
"""Pixels along a side of a patch of DINOv2; the following are DINOv2's, too."""
TABLE_SIDE = 518
"""37 patches: the side for which the official files hold positions."""
POSITIONS = ("size", "hub")
"""How a table of positions comes to another grid of patches. *size*: the corners of the two grids
meet. *hub*: as DINOv2's own program does it, which for tables without registers is by a factor that
is a tenth of a patch too large; the weights of SegIC and SINE saw the latter."""
SIZES = {"s": "small", "b": "base", "l": "large", "g": "giant"}
"""Letter in the names of official files -> timm's word."""
DINOV3_PATCH = 16
