"""Pages in a headless Chromium, told what to do over its debugging protocol.

Needs a `chromium` (apt-get install chromium), or CHROMIUM with the path of one. All else comes with Prefect and MLflow.
"""

import base64
import io
import json
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import httpx
from PIL import Image
from websockets.sync.client import ClientConnection, connect

from tests.system.patience import wait_until

COLOURS = 128  # of a picture: ample for pages, and a third of the bytes
SETTLED_SECONDS = 3.0  # for charts that are still being drawn when the text is there


@dataclass
class Page:
    """The one tab of a browser."""

    socket: ClientConnection
    numbers: Iterator[int] = field(default_factory=count)

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """The answer of the browser, events skipped."""
        number = next(self.numbers)
        self.socket.send(json.dumps({"id": number, "method": method, "params": parameters}))
        while True:
            answer: dict[str, Any] = json.loads(self.socket.recv(timeout=60))
            if answer.get("id") == number:
                assert "error" not in answer, answer
                return dict(answer["result"])

    def evaluate(self, script: str) -> Any:
        """The value of a JavaScript expression."""
        return self.call("Runtime.evaluate", expression=script, returnByValue=True)["result"].get("value")

    def open(self, url: str, *texts: str) -> None:
        """Returns when the page shows each of the texts."""
        self.call("Page.navigate", url="about:blank")  # else an address that differs behind # alone is not loaded anew
        self.call("Page.navigate", url=url)
        self.wait_for(*texts)

    def wait_for(self, *texts: str) -> None:
        def shown() -> bool:
            text = self.evaluate("document.body?.innerText") or ""
            return all(each in text for each in texts)

        wait_until(
            shown, 60, f"{' and '.join(texts)} on the page", seen=lambda: self.evaluate("document.body.innerText")
        )
        time.sleep(SETTLED_SECONDS)

    def remember(self, storage: dict[str, str]) -> None:
        """What every page that is opened later finds in its local storage."""
        self.call("Page.enable")
        script = f"for (const [key, value] of Object.entries({json.dumps(storage)})) localStorage.setItem(key, value)"
        self.call("Page.addScriptToEvaluateOnNewDocument", source=script)

    def type(self, placeholder: str, text: str) -> None:
        """Into the field that asks for it."""
        self.evaluate(f"[...document.querySelectorAll('input')].find(e => e.placeholder === '{placeholder}').focus()")
        self.call("Input.insertText", text=text)
        time.sleep(SETTLED_SECONDS)

    def click(self, text: str) -> None:
        """With the mouse, on the innermost thing with this text."""
        found = f"[...document.querySelectorAll('*')].filter(e => e.textContent.trim() === {json.dumps(text)}).at(-1)"
        box = self.evaluate(f"{found}.getBoundingClientRect().toJSON()")
        middle = {"x": box["x"] + box["width"] / 2, "y": box["y"] + box["height"] / 2}
        for event in ("mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=event, button="left", clickCount=1, **middle)
        time.sleep(SETTLED_SECONDS)

    def size(self, width: int, height: int) -> None:
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)

    def picture(self, path: Path, width: int, height: int, left: int = 0, top: int = 0) -> None:
        """Writes what is seen of the page from (left, top) on as a PNG of so many pixels."""
        clip = {"x": left, "y": top, "width": width, "height": height, "scale": 1}
        shot = self.call("Page.captureScreenshot", format="png", clip=clip)
        image = Image.open(io.BytesIO(base64.b64decode(shot["data"]))).convert("RGB")
        image.quantize(COLOURS, dither=Image.Dither.NONE).save(path, optimize=True)


@contextmanager
def browser(width: int, height: int) -> Iterator[Page]:
    program = os.environ.get("CHROMIUM") or shutil.which("chromium")
    assert program, "there is no Chromium: apt-get install chromium, or name one in CHROMIUM"
    as_root = ["--no-sandbox"] if os.geteuid() == 0 else []
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        process = subprocess.Popen(
            [program, "--headless=new", "--disable-gpu", "--hide-scrollbars", *as_root, "--remote-debugging-port=0",
             f"--user-data-dir={profile}", "about:blank"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        try:
            written = Path(profile) / "DevToolsActivePort"
            wait_until(lambda: written.exists() and "\n" in written.read_text(), 60, "answer of the browser")
            targets = httpx.get(f"http://127.0.0.1:{written.read_text().splitlines()[0]}/json").json()
            address = next(target for target in targets if target["type"] == "page")["webSocketDebuggerUrl"]
            with connect(address, max_size=None) as socket:
                page = Page(socket)
                page.size(width, height)
                yield page
        finally:
            process.terminate()
            process.wait(30)
