// What the browser does by itself, once the page is there.
() => {
  // a message is about the last action: the next one begins without it
  const dismiss = (event) => {
    if (event.target.closest && event.target.closest(".toast-wrap")) return;
    document.querySelectorAll(".toast-close").forEach((button) => button.click());
  };
  for (const kind of ["pointerdown", "drop", "change"]) {
    document.addEventListener(kind, dismiss, true);
  }
};
