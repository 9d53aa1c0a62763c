"""How often a process that only runs the desk looks for garbage."""

import gc
from typing import Final

# Objects made since the last look; Python's own 700 is one look or more for each batch of requests.
LOOK_AFTER_OBJECTS: Final = 10_000


def look_seldom() -> None:
    """Look for garbage seldom, and never at what is there now: call it once everything is loaded.

    What a request makes is freed when it is let go; only cycles wait for a look. With 64 agents the looks
    cost a quarter of the desk's speed, and the full ones most of its longest waits.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(LOOK_AFTER_OBJECTS, *gc.get_threshold()[1:])
