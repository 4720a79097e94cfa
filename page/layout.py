"""How the page looks, and which event belongs to which part of it."""

import gradio as gr

from common.video_io import IMAGE_SUFFIXES, VIDEO_SUFFIXES
from common.visualize import SUPPORT_COLOUR
from page.events import Events
from page.session import MEANINGS, PAINT

PAINT_COLOUR = (f"rgb{SUPPORT_COLOUR}", 0.6)
"""Colour and opacity of paint on the canvas."""

HEADER = """
# Label one picture, get the rest
Show an object in one picture, and DC-SAM marks the same kind of object in other pictures or in a
video. Everything stays on this computer. Try an example, or bring your own pictures.
"""

PICTURES_AND_VIDEO = "Drop many pictures, or one video."
PICTURES_ONLY = (
    "Drop many pictures. This checkpoint uses the first SAM, which has no memory: for videos start "
    "the page with one that uses SAM 2, "
    "`python app.py --ckpt checkpoints/tiny-video/coco_mask_tube.safetensors`."
)

STYLE = """
.gradio-container { max-width: 1280px !important; margin: 0 auto; }
#examples .thumbnail-item { aspect-ratio: 3.1; }
#references .caption-label, #targets .caption-label { display: none; }
#found .caption-label { inset: auto 0 0 0; max-width: 100%; border-radius: 0; font-size: 12px; }
#note { min-height: 48px; }
.step h3 { margin: 0 0 2px; } .step p { margin: 0; opacity: .75; }
"""

THEME = gr.themes.Soft(
    primary_hue="blue",
    neutral_hue="slate",
    font=["system-ui", "sans-serif"],  # fonts of the visitor's own system: nothing is fetched
    font_mono=["ui-monospace", "monospace"],
)

CLEAN_EVERY, CLEAN_AFTER = 600, 3600
"""Seconds after which Gradio's copies of uploads are looked for, and removed."""


def build_page(events: Events, has_memory: bool) -> gr.Blocks:
    """The whole page.

    Args:
        has_memory: whether the checkpoint can follow an object through a video.
    """
    brush = gr.Brush(default_size=16, colors=[PAINT_COLOUR], color_mode="fixed")
    with gr.Blocks(
        title="DC-SAM", analytics_enabled=False, delete_cache=(CLEAN_EVERY, CLEAN_AFTER)
    ) as page:
        gr.Markdown(HEADER)
        examples = gr.Gallery(
            [(str(one.cover), one.title) for one in events.examples],
            show_label=False,
            elem_id="examples",
            columns=4,
            fit_columns=False,
            height=112,
            allow_preview=False,
            object_fit="contain",
            interactive=False,
            buttons=[],
        )
        with gr.Row(equal_height=False):
            with gr.Column(scale=5, min_width=420):
                gr.Markdown(
                    "### 1. Show the object\nPaint on it in one picture.", elem_classes="step"
                )
                drop = gr.File(
                    label="Reference picture",
                    elem_id="reference",
                    file_types=["image"],
                    height=130,
                )
                canvas = gr.ImageEditor(
                    label="Paint on the object",
                    elem_id="canvas",
                    visible="hidden",
                    sources=(),
                    transforms=(),
                    layers=False,
                    brush=brush,
                    type="numpy",
                    height=420,
                    buttons=[],
                )
                with gr.Group(visible=False) as tools:
                    meaning = gr.Radio(
                        MEANINGS,
                        value=PAINT,
                        label="You paint",
                        info="From clicks, strokes or a box, SAM draws the mask itself.",
                        elem_id="meaning",
                    )
                    with gr.Row():
                        other = gr.UploadButton("Other picture", file_types=["image"], size="sm")
                        mask_file = gr.UploadButton(
                            "Mask from file", file_types=["image"], size="sm", elem_id="mask"
                        )
                        keep = gr.Button("Add one more reference", size="sm", elem_id="keep")
                    name = gr.Textbox("object", label="Its name in the files", elem_id="name")
                confirmation = gr.Image(
                    label="The model will look for this",
                    elem_id="confirmation",
                    visible=False,
                    interactive=False,
                    height=240,
                    buttons=[],
                )
                references = gr.Gallery(
                    label="More references (click one to remove it)",
                    elem_id="references",
                    visible=False,
                    columns=4,
                    height=130,
                    allow_preview=False,
                    interactive=False,
                    buttons=[],
                )
                forget = gr.Button("Remove these references", size="sm", visible=False)
            with gr.Column(scale=7, min_width=480):
                possible = PICTURES_AND_VIDEO if has_memory else PICTURES_ONLY
                gr.Markdown(f"### 2. Choose what to label\n{possible}", elem_classes="step")
                target_drop = gr.File(
                    label="Pictures, or one video",
                    elem_id="target",
                    file_count="multiple",
                    file_types=[*sorted(IMAGE_SUFFIXES), *sorted(VIDEO_SUFFIXES)],
                    height=130,
                )
                targets = gr.Gallery(
                    show_label=False,
                    elem_id="targets",
                    visible=False,
                    columns=8,
                    height=110,
                    allow_preview=False,
                    interactive=False,
                    buttons=[],
                )
                film = gr.Video(
                    show_label=False, visible=False, interactive=False, height=180, buttons=[]
                )
                clear = gr.Button("Remove all", size="sm", visible=False)
                gr.Markdown("### 3. Find it", elem_classes="step")
                with gr.Row():
                    every = gr.Number(
                        0,
                        label="Videos: look again every N frames",
                        minimum=0,
                        precision=0,
                        scale=2,
                        visible=has_memory,
                    )
                    find = gr.Button("Find it", variant="primary", scale=2, elem_id="find")
                    stop = gr.Button("Stop", scale=1, elem_id="stop")
                note = gr.Markdown(elem_id="note")
                with gr.Group(visible=False) as moving:
                    with gr.Row():
                        presence = gr.Slider(
                            0,
                            1,
                            0.5,
                            step=0.01,
                            label="Least score of a picture",
                            elem_id="presence",
                        )
                        mask = gr.Slider(
                            0.05,
                            0.95,
                            0.5,
                            step=0.01,
                            label="Least score of a pixel",
                            elem_id="threshold",
                        )
                    with gr.Row():
                        save_masks = gr.Button("Save masks (PNG)", size="sm", elem_id="save-masks")
                        save_coco = gr.Button("Save COCO JSON", size="sm", elem_id="save-coco")
                saved = gr.File(label="Saved", visible=False, interactive=False, elem_id="saved")
                found = gr.Gallery(
                    label="Result",
                    elem_id="found",
                    visible=False,
                    columns=3,
                    height="auto",
                    object_fit="contain",
                    interactive=False,
                    buttons=["fullscreen", "download"],
                )
                found_film = gr.Video(
                    label="Result",
                    elem_id="found-film",
                    height=480,
                    visible=False,
                    interactive=False,
                    autoplay=True,
                    loop=True,
                    buttons=["download"],
                )

        easel = [drop, canvas, tools, meaning]
        shown_targets = [targets, film, clear]
        shown_results = [found, found_film, moving, saved, note]
        quick = {"api_visibility": "private", "show_progress": "hidden"}
        network = {"concurrency_id": "network", "concurrency_limit": 1, "api_visibility": "private"}

        examples.select(
            events.load_example,
            None,
            [*easel, confirmation, references, forget, *shown_targets, name, *shown_results],
            **quick,
        )
        for button in (drop, other):
            opened = button.upload(events.open_reference, button, [*easel, confirmation], **quick)
            opened.failure(lambda: None, None, button, **quick)  # a refused file does not stay
        mask_file.upload(events.give_mask, mask_file, [*easel, confirmation], **quick)
        for change in (canvas.change, meaning.change):
            change(
                events.confirm,
                [canvas, meaning],
                confirmation,
                trigger_mode="always_last",
                show_progress="hidden",
                **network,
            )
        keep.click(
            events.keep,
            [canvas, meaning],
            [*easel, confirmation, references, forget],
            show_progress="hidden",
            **network,
        )
        references.select(events.remove_reference, None, [references, forget], **quick)
        forget.click(events.forget_references, None, [references, forget], **quick)
        chosen = target_drop.upload(
            events.add_targets, target_drop, [target_drop, *shown_targets], **quick
        )
        chosen.failure(lambda: None, None, target_drop, **quick)
        clear.click(events.clear_targets, None, shown_targets, **quick)
        find.click(
            events.find,
            [canvas, meaning, name, presence, mask, every],
            shown_results,
            show_progress_on=note,
            **network,
        )
        stop.click(events.stop, queue=False, api_visibility="private")
        thresholds = [presence, mask]
        for slider in thresholds:
            slider.change(
                events.move_thresholds, thresholds, found, trigger_mode="always_last", **quick
            )
        save_masks.click(events.save_masks, thresholds, saved, api_visibility="private")
        save_coco.click(events.save_coco, [*thresholds, name], saved, api_visibility="private")
        page.unload(events.leave)
    return page
