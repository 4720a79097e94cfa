"""What may mark an object in a reference."""

KINDS = ("mask", "point", "scribble", "box")
ANY = "multi"
PROMPTS = (*KINDS, ANY)
"""Every support has this kind of mark, or each any of them."""
REFERENCE_KINDS = {
    "mask": "mask",
    "box": "box",
    "points": "point",
    "scribble": "scribble",
    ANY: ANY,
}
"""What references of an evaluation are called, each of which has up to 20 points -> `PROMPTS`."""


def kinds_of(prompt: str) -> tuple[str, ...]:
    """Which kinds of marks there are where supports are marked so, one of `PROMPTS`."""
    return KINDS if prompt == ANY else (prompt,)
