"""What a user does with the controls of a page: by mouse and keys, found by what they say."""

import json
import time
from typing import Any

from .chromium import Chromium

PATIENCE = 60
BUTTON = """[...document.querySelectorAll('button, [role=tab]')].find(
  (element) => element.textContent.trim() === %s && element.checkVisibility())"""
FIND = """(() => {
  const found = %s;
  if (!found) return null;
  found.scrollIntoView({block: 'center'});
  window.hit = false;
  found.addEventListener('click', () => window.hit = true, {once: true});
  const box = found.getBoundingClientRect();
  return box.width ? [box.x + box.width / 2, box.y + box.height / 2] : null;
})()"""
FOCUS = """(() => {
  const all = [...document.querySelectorAll('label, div, span')].filter((element) => !element.children.length);
  const label = all.find((element) => element.textContent.trim() === %s && element.checkVisibility());
  let row = label;
  while (row && !row.querySelector('[role=slider]')) row = row.parentElement;
  if (!row) return null;
  row.querySelector('[role=slider]').focus();
  return true;
})()"""


def click(browser: Chromium, text: str) -> None:
    """On the button or tab of this text."""
    click_on(browser, BUTTON % json.dumps(text))


def click_on(browser: Chromium, element: str) -> None:
    """In the middle of what a script finds, once it is there; again if it moved meanwhile, as a line above wrapped."""
    for _ in range(10):
        x, y = _found(browser, FIND % element, element)
        for kind in ("mousePressed", "mouseReleased"):
            browser.mouse(kind, x, y, button="left", buttons=int(kind == "mousePressed"), clickCount=1)
        if browser.run("window.hit"):
            return
    raise AssertionError(f"{element!r} does not stand still")


def press(browser: Chromium, slider: str, key: str) -> None:
    """A key on a slider."""
    _found(browser, FOCUS % json.dumps(slider), slider)
    browser.key(key)


def handle_of(server: Any, label: str) -> Any:
    """The server's side of a control."""
    handles = server.gui._gui_input_handle_from_uuid.values()
    return next(handle for handle in handles if getattr(handle, "label", None) == label)


def _found(browser: Chromium, script: str, what: str) -> Any:
    end = time.monotonic() + PATIENCE
    while (found := browser.run(script)) is None:
        assert time.monotonic() < end, f"no {what!r} on the page"
        time.sleep(0.1)
    return found
