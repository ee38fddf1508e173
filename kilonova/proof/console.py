"""A picture of a guest's screen, taken through noVNC as a person would see it."""

from __future__ import annotations

from pathlib import Path

from kilonova.proof import chromium

# Number of colours in a sample of the canvas: a black screen has one.
COLORS = """(() => {
  const canvas = document.querySelector("canvas");
  if (!canvas || canvas.width < 100) return 0;
  const data = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
  const seen = new Set();
  for (let i = 0; i < data.length; i += 4) seen.add(data[i] << 16 | data[i + 1] << 8 | data[i + 2]);
  return seen.size;
})()"""


def picture(url: str, path: Path, name: str = "", limit: float = 100, certificate_checked: bool = False) -> dict[str, str]:
    """Open the console in a browser and write a picture of it; returns {status, text} as a row wants it.

    `certificate_checked`: the caller has checked it, so that the browser need not know who signed it.
    """
    if not chromium.find():
        return {"status": "skipped", "text": "the machine that runs Ansible has no chromium"}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    said = ""
    try:
        with chromium.Browser(width=800, height=520) as page:
            if certificate_checked:
                page.take_any_certificate()
            page.open(url)
            try:
                page.wait(COLORS + " > 1", "the guest's screen to show something", limit)
            finally:
                # noVNC's status line, such as "Connected to QEMU" or "Something went wrong, connection is closed".
                said = "; the page says: " + page.evaluate(
                    "(document.getElementById('status') || document.body).innerText.slice(0, 200)"
                )
            colors = page.evaluate(COLORS)
            size = page.evaluate("(c => `${c.width} x ${c.height}`)(document.querySelector('canvas'))")
            page.screenshot(path)
    except (chromium.BrowserError, OSError) as error:
        return {"status": "failed", "text": f"{error}{said}"}
    return {"status": "passed", "text": f"the screen of {name}, {size}, {colors} colours"}
