// What the browser does by itself, once the page is there.
() => {
  // a message is about the last action: the next one begins without it
  const dismiss = (event) => {
    if (event.target.closest && event.target.closest(".toast-wrap")) return;
    document.querySelectorAll(".toast-close").forEach((button) => button.click());
    document.querySelectorAll(".too-large").forEach((note) => note.remove());
  };
  for (const kind of ["pointerdown", "drop", "change"]) {
    document.addEventListener(kind, dismiss, true);
  }

  // Gradio refuses a whole drop for one file that is too large: leave that file out by name
  const withoutTooLarge = (files, place) => {
    const most = window.gradio_config && window.gradio_config.max_file_size;
    const tooLarge = [...files].filter((file) => most && file.size > most);
    if (!tooLarge.length) return null;
    const note = document.createElement("div");
    note.className = "too-large";
    const names = tooLarge.map((file) => file.name).join(", ");
    note.textContent = `Left out, larger than ${Math.round(most / 2 ** 20)} MB: ${names}`;
    place.append(note);
    const rest = new DataTransfer();
    [...files].filter((file) => !tooLarge.includes(file)).forEach((file) => rest.items.add(file));
    return rest;
  };
  document.addEventListener("change", (event) => {
    const place = event.target.type === "file" && event.target.closest("#target, #reference");
    const rest = place && withoutTooLarge(event.target.files, place);
    if (rest) event.target.files = rest.files;
  }, true);
  document.addEventListener("drop", (event) => {
    const place = event.target.closest && event.target.closest("#target, #reference");
    const rest = place && withoutTooLarge(event.dataTransfer.files, place);
    if (!rest) return;
    event.preventDefault();
    event.stopImmediatePropagation();
    const again = { dataTransfer: rest, bubbles: true, cancelable: true };
    setTimeout(() => event.target.dispatchEvent(new DragEvent("drop", again)));
  }, true);
  document.documentElement.dataset.ready = "";  // from here on a drop is looked at first
};
