"""How the page looks, and which event belongs to which part of it."""

from typing import Any

import gradio as gr

from common.video_io import IMAGE_SUFFIXES, VIDEO_SUFFIXES
from common.visualize import SUPPORT_COLOUR
from page.events import Events, presence_slider
from page.items import Thresholds
from page.session import MEANINGS, PAINT

PAINT_COLOUR = (f"rgb{SUPPORT_COLOUR}", 0.6)
"""Colour and opacity of paint on the canvas."""

HEADER = """
# Label one picture, get the rest
Show an object in one picture, and DC-SAM marks the same kind of object in other pictures or in a
video. Everything stays on this computer. Try an example, or bring your own pictures.
"""

THEME = gr.themes.Soft(
    primary_hue="blue",
    neutral_hue="slate",
    font=["system-ui", "sans-serif"],  # fonts of the visitor's own system: nothing is fetched
    font_mono=["ui-monospace", "monospace"],
)

QUICK = {"api_visibility": "private", "show_progress": "hidden"}
NETWORK = {"concurrency_id": "network", "concurrency_limit": 1, "api_visibility": "private"}
"""How events run: at once, or one at a time because they use the network."""

HIDDEN = {"visible": False, "interactive": False}
"""Parts that only show something, once there is something to show."""

DOWNLOAD = """(file) => {
    const link = document.createElement("a");
    link.href = file.url;
    link.download = file.orig_name;
    link.click();
}"""
"""Gives the browser a file that was written."""

PICTURE_FILES = sorted(IMAGE_SUFFIXES)
"""By name: browsers do not know the kind of every picture that can be read."""

PICTURES = {"allow_preview": False, "buttons": [], "fit_columns": False}
"""Galleries only show: nothing is opened by a click, and few pictures are as small as many."""

NARROWEST = 420
"""Pixels below which columns go below each other; the style lets one be narrower still."""

CLEAN_EVERY, CLEAN_AFTER = 600, 3600
"""Seconds after which Gradio's copies of uploads are looked for, and removed."""


def build_page(events: Events) -> gr.Blocks:
    """The whole page.

    Raises:
        UsageError: the method that visitors begin with cannot be built.
    """
    methods = events.methods
    calibrated = methods.segmenter(methods.first).is_calibrated
    cache = (CLEAN_EVERY, CLEAN_AFTER)
    with gr.Blocks(title="DC-SAM", analytics_enabled=False, delete_cache=cache) as page:
        gr.Markdown(HEADER)
        covers = [(str(one.cover), one.title) for one in events.examples]
        examples = _gallery(
            "examples",
            value=covers,
            visible=True,
            show_label=False,
            columns=5,
            height=96,
            object_fit="contain",
        )
        with gr.Row(elem_id="methods"):
            lines = [(offer.line, label) for label, offer in methods.offers.items()]
            with gr.Column(scale=2, min_width=NARROWEST // 2):
                method = gr.Dropdown(lines, value=methods.first, label="Method", elem_id="method")
            with gr.Column(scale=5, min_width=NARROWEST // 2):
                described = methods.offers[methods.first].described()
                about = gr.HTML(described, elem_id="about", min_height=60)
        with gr.Row(equal_height=False, elem_id="steps"):
            with gr.Column(scale=5, min_width=NARROWEST):
                reference = ReferenceStep()
            with gr.Column(scale=7, min_width=NARROWEST):
                targets = TargetStep()
                results = ResultStep(calibrated)
        filled = [*reference.easel, *reference.kept, *targets.chosen, reference.name]
        examples.select(events.load_example, None, [*filled, *results.shown], **QUICK)
        method.input(
            events.choose_method,
            method,
            [about, results.presence],
            show_progress_on=about,
            **NETWORK,
        )
        reference.connect(events)
        targets.connect(events)
        results.connect(events, reference, targets)
        page.unload(events.leave)
    return page


class ReferenceStep:
    """Where the object is shown: a picture with paint or a mask file, and more of them."""

    def __init__(self) -> None:
        _heading("1. Show the object", "Paint on it in one picture.")
        self.drop = gr.File(
            label="Reference picture", elem_id="reference", file_types=PICTURE_FILES, height=130
        )
        self.canvas = gr.ImageEditor(
            label="Paint on the object",
            elem_id="canvas",
            visible="hidden",
            sources=(),
            transforms=(),
            layers=False,
            brush=gr.Brush(default_size=16, colors=[PAINT_COLOUR], color_mode="fixed"),
            type="numpy",
            height=420,
            buttons=[],
        )
        with gr.Group(visible=False) as self.tools:
            self.meaning = gr.Radio(
                MEANINGS,
                value=PAINT,
                label="You paint",
                info="From clicks, strokes or a box, SAM draws the mask itself.",
                elem_id="meaning",
            )
            with gr.Row():
                image = {"file_types": PICTURE_FILES, "size": "sm"}
                self.other = gr.UploadButton("Other picture", **image)
                self.mask = gr.UploadButton("Mask from file", elem_id="mask", **image)
            self.name = gr.Textbox("object", label="What it is called", elem_id="name")
            with gr.Row():
                self.keep = gr.Button("One more picture of it", size="sm", elem_id="keep")
                self.another = gr.Button("One more class", size="sm", elem_id="another")
        self.confirmation = gr.Image(
            label="The model will look for this",
            elem_id="confirmation",
            height=240,
            buttons=[],
            **HIDDEN,
        )
        label = "Kept references (click one to remove it)"
        self.shots = _gallery("references", label=label, columns=4, height=190)
        self.forget = gr.Button("Remove these references", size="sm", visible=False)

        self.painting = [self.canvas, self.meaning, self.name]
        self.easel = [self.drop, self.canvas, self.tools, self.meaning, self.confirmation]
        self.kept = [self.shots, self.forget]

    def connect(self, events: Events) -> None:
        """Let the parts do something."""
        kept = [*self.easel, *self.kept]
        for button in (self.drop, self.other):
            opened = button.upload(events.open_reference, [button, self.name], self.easel, **QUICK)
            opened.failure(lambda: None, None, button, **QUICK)  # a refused file does not stay
        self.mask.upload(events.give_mask, [self.mask, self.name], kept, **QUICK)
        for change in (self.canvas.change, self.meaning.change):
            change(
                events.confirm,
                self.painting,
                self.confirmation,
                trigger_mode="always_last",
                show_progress="hidden",
                **NETWORK,
            )
        self.keep.click(events.keep, self.painting, kept, show_progress="hidden", **NETWORK)
        self.another.click(
            events.keep_for_another,
            self.painting,
            [*kept, self.name],
            show_progress="hidden",
            **NETWORK,
        )
        self.shots.select(events.remove_reference, None, self.kept, **QUICK)
        self.forget.click(events.forget_references, None, self.kept, **QUICK)


class TargetStep:
    """Where pictures or a video to label are chosen."""

    def __init__(self) -> None:
        _heading("2. Choose what to label", "Drop many pictures, or one video.")
        self.drop = gr.File(
            label="Pictures, or one video",
            elem_id="target",
            file_count="multiple",
            file_types=sorted(IMAGE_SUFFIXES | VIDEO_SUFFIXES),
            height=130,
        )
        self.pictures = _gallery("targets", show_label=False, columns=8, height=110)
        self.film = gr.Video(show_label=False, height=180, buttons=[], **HIDDEN)
        self.refused = gr.HTML(elem_id="refused", visible=False)
        self.every = gr.Number(
            0,
            minimum=0,
            precision=0,
            label="Find the object anew every so many frames (0: only in the first)",
            elem_id="every",
            visible=False,
        )
        self.clear = gr.Button("Remove all", size="sm", visible=False, elem_id="target-clear")
        self.chosen = [self.pictures, self.film, self.refused, self.every, self.clear]

    def connect(self, events: Events) -> None:
        """Let the parts do something."""
        taken = self.drop.upload(events.add_targets, self.drop, [self.drop, *self.chosen], **QUICK)
        taken.failure(lambda: None, None, self.drop, **QUICK)
        self.clear.click(events.clear_targets, None, self.chosen, **QUICK)


class ResultStep:
    """Where the work is begun and stopped, and its results are shown and saved."""

    def __init__(self, calibrated: bool) -> None:
        _heading("3. Find it")
        with gr.Row():
            self.find = gr.Button("Find it", variant="primary", scale=2, elem_id="find")
            self.stop = gr.Button("Stop", scale=1, elem_id="stop")
        self.note = gr.HTML(elem_id="note", min_height=48)
        with gr.Group(visible=False) as self.tools:
            with gr.Row():
                start = Thresholds.start(calibrated)
                pixel = {"label": "Least score of a pixel", "elem_id": "threshold"}
                picture = {"step": 0.01, "elem_id": "presence", **presence_slider(calibrated)}
                self.presence = gr.Slider(0, 1, **picture)
                self.mask = gr.Slider(0.05, 0.95, start.mask, step=0.01, **pixel)
            self.apart = gr.Checkbox(label="Tell the objects of a class apart", elem_id="apart")
            with gr.Row():
                self.save_masks = gr.Button("Save masks (PNG)", size="sm", elem_id="save-masks")
                self.save_coco = gr.Button("Save COCO JSON", size="sm", elem_id="save-coco")
                self.save_film = gr.Button("Save video (MP4)", size="sm", elem_id="save-film")
        self.saved = gr.File(visible="hidden", interactive=False)
        grid = {"columns": 3, "height": "auto", "object_fit": "contain"}
        buttons = ["fullscreen", "download"]
        self.pictures = _gallery("found", label="Result", buttons=buttons, **grid)
        self.film = gr.Video(
            label="Result",
            elem_id="found-film",
            height=480,
            autoplay=True,
            loop=True,
            buttons=[],
            **HIDDEN,
        )
        self.shown = [self.pictures, self.film, self.tools, self.save_film, self.note]

    def connect(self, events: Events, reference: ReferenceStep, targets: TargetStep) -> None:
        """Let the parts do something."""
        thresholds = [self.presence, self.mask, self.apart]
        self.find.click(
            events.segment,
            [*reference.painting, *thresholds, targets.every],
            self.shown,
            show_progress_on=self.note,
            **NETWORK,
        )
        self.stop.click(events.stop, queue=False, api_visibility="private")
        for part in thresholds:
            part.change(
                events.move_thresholds,
                thresholds,
                self.shown,
                trigger_mode="always_last",
                show_progress_on=self.note,
                api_visibility="private",
            )
        for button, save in (
            (self.save_masks, events.save_masks),
            (self.save_coco, events.save_coco),
            (self.save_film, events.save_film),
        ):
            written = button.click(save, thresholds, self.saved, **QUICK)
            written.success(None, self.saved, None, js=DOWNLOAD, **QUICK)


def _heading(title: str, line: str = "") -> None:
    gr.Markdown(f"### {title}\n{line}", elem_classes="step")


def _gallery(elem_id: str, **more: Any) -> gr.Gallery:
    """Pictures that appear once there are some; none is opened by a click."""
    return gr.Gallery(elem_id=elem_id, **{**HIDDEN, **PICTURES, **more})
