// A file from the reader's disk goes into the box; it is sent only when the reader checks or plays it.
(function () {
  "use strict";
  const upload = document.getElementById("upload");
  const text = document.getElementById("text");
  const choose = document.getElementById("choose");
  const MOST = 200000;
  choose.hidden = false;
  choose.addEventListener("click", () => upload.click());
  upload.addEventListener("change", async () => {
    const file = upload.files[0];
    if (!file) return;
    text.value = file.size > MOST ? "# " + file.name + " is larger than " + MOST + " bytes, which no rule file is" : await file.text();
    text.focus();
  });
  // Tab indents, as in an editor; Escape gives Tab back to the page, so that nobody is caught in the box.
  let indents = true;
  text.addEventListener("focus", () => { indents = true; });
  text.addEventListener("keydown", (event) => {
    if (event.key === "Escape") indents = false;
    if (event.key !== "Tab" || event.shiftKey || !indents) return;
    event.preventDefault();
    text.setRangeText("  ", text.selectionStart, text.selectionEnd, "end");
  });
})();
