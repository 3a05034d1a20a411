"""Pictures one after the other, as a GIF."""

from __future__ import annotations

import base64
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

import numpy as np

from chainrule.training.inputs import check_count

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["Animation"]

_FORMATS = (".gif", ".apng", ".webp")
_SHOWN_FRAMES = 40  # in a notebook, of longer animations every so many-th and the last
_SHOWN_BYTES = 3_000_000


@final
class Animation:
    """A figure that is drawn anew for each frame; `chainrule.plots.save` writes it as a GIF.

    `figure` shows the last frame, and `draw(i)` has it show frame i. A notebook shows the animation
    itself, of at most 40 frames, and where that takes more than 3 MB, the last frame alone.
    """

    def __init__(
        self,
        figure: Figure,
        draw: Callable[[int], None],
        n_frames: int,
        frames_per_second: int = 5,
    ) -> None:
        check_count("frames_per_second", frames_per_second)
        self.figure = figure
        self.draw = draw
        self.n_frames = n_frames
        self.frames_per_second = frames_per_second
        # Axes that are laid out anew for each frame would tremble.
        figure.draw_without_rendering()
        figure.set_layout_engine("none")

    def __repr__(self) -> str:
        return f"Animation({self.n_frames} frames)"

    def write(self, path: Path, frames: list[int] | None = None, dpi: float = 100.0) -> None:
        """Write these frames, by default all of them; the last one stands for a second.

        Raises ValueError for a suffix of no format for animations.
        """
        if path.suffix.lower() not in _FORMATS:
            raise ValueError(f"an animation is written as {', '.join(_FORMATS)}, not {path.suffix}")
        from matplotlib.animation import FuncAnimation, PillowWriter

        frames = list(range(self.n_frames)) if frames is None else frames
        shown = [*frames, *frames[-1:] * self.frames_per_second]

        def draw(i: int) -> list[Any]:
            self.draw(i)
            return []

        moving = FuncAnimation(self.figure, draw, frames=shown, init_func=list, repeat=False)
        moving.save(path, writer=PillowWriter(fps=self.frames_per_second), dpi=dpi)
        self.draw(self.n_frames - 1)

    def _repr_html_(self) -> str:
        last = self.n_frames - 1
        frames = sorted({*np.linspace(0, last, min(_SHOWN_FRAMES, last + 1)).astype(int).tolist()})
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "animation.gif")
            self.write(path, frames, dpi=80.0)
            if path.stat().st_size > _SHOWN_BYTES:
                self.write(path, [last], dpi=80.0)
            data = base64.b64encode(path.read_bytes()).decode("ascii")
        return f'<img alt="{len(frames)} frames" src="data:image/gif;base64,{data}">'
