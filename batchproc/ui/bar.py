"""The live display on a terminal. The only module that imports rich; import it only when a bar is shown."""

from __future__ import annotations

from typing import IO, cast

from msgspec.structs import replace
from rich.console import Console as RichConsole
from rich.console import ConsoleOptions, RenderResult
from rich.control import Control
from rich.live import Live
from rich.segment import ControlType, Segment
from rich.style import Style
from rich.text import Text

from batchproc.events import Event, JobEnded, JobRequeued, RequestEnded, RequestSent
from batchproc.model import FaultKind
from batchproc.snapshot import Snapshot, Summary
from batchproc.ui.console import Console
from batchproc.ui.frame import Line, Problem, frame
from batchproc.ui.notes import note
from batchproc.ui.plain import status_line
from batchproc.ui.summary import print_summary
from batchproc.ui.words import clock

_KINDS = 50  # kinds of problems whose counts are kept; codes come from servers and may be endless
_SHOWN = 2
_HOLD_S = 2.0  # how long a reason for waiting stays, so that one that comes and goes can be read
_STYLES = {name: Style.parse(name) for name in ("red", "green", "yellow", "cyan", "dim")} | {"": Style.null()}


class _Screen(RichConsole):
    """A rich console that leaves the cursor visible: after a `kill -9` nobody would bring it back."""

    def show_cursor(self, show: bool = True) -> bool:
        """Leave it as it is."""
        return False


class Bar:
    """Several lines that stay at the bottom; notable events scroll away above them.

    Drawn only in `update()`, from there also the events since the last one: at `-vv` there may be thousands a second,
    and each would redraw the display.
    """

    def __init__(
        self, console: Console, verbosity: int = 0, *, width: int | None = None, height: int | None = None
    ) -> None:
        self._console = console
        self._verbosity = verbosity
        self._screen = _Screen(
            file=cast(IO[str], console.stream),
            force_terminal=True,
            force_interactive=True,
            force_jupyter=False,
            color_system="standard" if console.colour else None,
            highlight=False,
            markup=False,
            emoji=False,
            legacy_windows=False,
            width=width,
            height=height,
        )
        self._live = Live(
            console=self._screen,
            auto_refresh=False,
            redirect_stdout=False,
            redirect_stderr=False,
            transient=True,
            vertical_overflow="crop",
        )
        self._lines: list[str] = []  # to be printed above the display
        self._problems: dict[str, Problem] = {}  # oldest first
        self._shown: list[Problem] = []  # of the problems, those on the screen
        self._shown_at = 0.0
        self._elapsed_s = 0.0
        self._stopped = False
        self._waiting_for = ""
        self._waited_at = 0.0
        self._drawn: tuple[int, list[int]] = (0, [])  # width of the terminal, lengths of the lines

    def start(self) -> None:
        """Nothing is drawn before the first update."""

    def update(self, snapshot: Snapshot) -> None:
        """Draw the run as it is, and above it what happened since the last time."""
        if self._stopped:
            return
        self._elapsed_s = snapshot.elapsed_s
        width, height = self._screen.size
        self._unwrap(width)
        # The last column stays free: terminals differ in where the cursor is after writing there.
        lines = self._frame(snapshot, max(1, width - 1), max(1, height - 1))
        if not self._live.is_started:
            self._live.start()
        self._live.update(_Frame(lines), refresh=True)
        self._drawn = (width, [sum(len(text) for text, _ in line) for line in lines])
        self._flush()

    def event(self, event: Event) -> None:
        """Remember what to say about it."""
        kind = type(event)
        if kind is RequestSent or kind is RequestEnded or (kind is JobEnded and event.code is None):  # type: ignore[union-attr]
            return  # thousands a second
        if isinstance(event, JobEnded | JobRequeued):
            self._count(event)
        text = note(event, self._verbosity)
        if text is not None:
            self._lines.append(f"[{clock(self._elapsed_s)}] {text}")
            if self._stopped:
                self._flush()

    def status(self, snapshot: Snapshot) -> None:
        """Print the status line above the display now."""
        self._lines.append(status_line(snapshot))
        self._flush()

    def stop(self) -> None:
        """Take the display away; the closing words follow."""
        self._stopped = True
        if self._live.is_started:
            self._live.stop()
        self._flush()

    def summary(self, summary: Summary) -> None:
        """Print the closing words."""
        print_summary(self._console, summary)

    def _flush(self) -> None:
        lines, self._lines = self._lines, []
        if lines:
            self._screen.print(Text("\n".join(lines)), soft_wrap=True)

    def _count(self, event: JobEnded | JobRequeued) -> None:
        if isinstance(event, JobRequeued):
            if event.kind is FaultKind.RATE_LIMITED:  # has its own number
                return
            what = event.kind.value
        elif event.code is not None:
            what = event.code
        else:
            return
        problem = self._problems.pop(what, None) or Problem(what, "", 0)
        problem.message, problem.line = event.message, event.line
        problem.count += 1
        self._problems[what] = problem
        if len(self._problems) > _KINDS:
            del self._problems[next(iter(self._problems))]

    def _frame(self, snapshot: Snapshot, width: int, height: int) -> list[Line]:
        if snapshot.waiting_for:
            self._waiting_for, self._waited_at = snapshot.waiting_for, snapshot.elapsed_s
        elif self._waiting_for and snapshot.elapsed_s - self._waited_at < _HOLD_S:
            snapshot = replace(snapshot, waiting_for=self._waiting_for)
        return frame(snapshot, self._latest(), width, height)

    def _latest(self) -> list[Problem]:
        """The problems met last. Where there are several kinds they do not chase each other, but stay for a while."""
        if len(self._shown) < min(_SHOWN, len(self._problems)) or self._elapsed_s - self._shown_at >= _HOLD_S:
            latest = list(self._problems.values())[-_SHOWN:]
            stay = [problem for problem in self._shown if any(problem is other for other in latest)]
            self._shown = stay + [p for p in latest if not any(p is other for other in stay)]
            self._shown_at = self._elapsed_s
        return self._shown

    def _unwrap(self, width: int) -> None:
        """After the terminal became narrower, erase the rows into which it broke the old lines.

        Rich moves up by as many rows as it drew lines; the rows beyond would stay behind as litter.
        """
        before, lengths = self._drawn
        if not self._live.is_started or width >= before or not lengths:
            return
        extra = sum(max(0, length - 1) // width for length in lengths)
        if extra:
            erase_and_up = [(ControlType.ERASE_IN_LINE, 2), (ControlType.CURSOR_UP, 1)]
            self._screen.control(Control(ControlType.CARRIAGE_RETURN, *(erase_and_up * extra)))


class _Frame:
    """Finished lines for rich: segments as they are, which costs a third of what laying out text does."""

    def __init__(self, lines: list[Line]) -> None:
        self._lines = lines

    def __rich_console__(self, console: RichConsole, options: ConsoleOptions) -> RenderResult:
        for number, line in enumerate(self._lines):
            if number:
                yield Segment.line()
            for text, style in line:
                yield Segment(text, _STYLES[style])
