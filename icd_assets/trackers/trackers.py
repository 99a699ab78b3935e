"""All trackers of one run. None of them can stop it: one that raises is switched off, with a line in the log."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from icd_assets.runtime.foreign import harmless
from icd_assets.trackers.interface import TrackedRun, Tracker
from icd_assets.trackers.known import opener
from icd_assets.trackers.output import hidden, hide_keys_in_logs, without_keys

_READ, _SHOWN = 10_000, 200  # characters of an error's text
_LONGEST_KEY = 4096  # characters
_LONGEST_LINK = 1000


class Trackers:
    """The trackers ``names``, each opened when there is something to log, so that a step that has no numbers
    leaves no empty run. ``links``: by name, of those that were opened and still work."""

    def __init__(self, names: Sequence[str], run: TrackedRun, note: Callable[[str], None]) -> None:
        self.links: dict[str, str] = {}
        self._run, self._note = run, note
        self._to_open, self._open = [*names], dict[str, Tracker]()

    def log(self, epoch: int, metrics: Mapping[str, float]) -> None:
        """One epoch's numbers; ``epoch`` counts from 1, and may come again."""
        self._each(lambda tracker: tracker.log(epoch, metrics))

    def summarize(self, scores: Mapping[str, float]) -> None:
        """Numbers of the run as a whole."""
        self._each(lambda tracker: tracker.summarize(scores))

    def summarize_open(self, scores: Mapping[str, float]) -> None:
        """The same, of a run that has logged something."""
        if self._open:
            self.summarize(scores)

    def close(self, *, complete: bool) -> None:
        self._to_open = []
        self._each(lambda tracker: tracker.close(complete=complete))
        self._open = {}

    def _each(self, act: Callable[[Tracker], None]) -> None:
        opening, self._to_open = self._to_open, []
        for name in opening:
            self._guarded(name, lambda name=name: self._opened(name))  # type: ignore[misc]
        for name, tracker in [*self._open.items()]:
            self._guarded(name, lambda tracker=tracker: act(tracker))  # type: ignore[misc]

    def _opened(self, name: str) -> None:
        hide_keys_in_logs()
        tracker = opener(name)(self._run)
        self._open[name] = tracker
        # An address may have a password in it, and a link goes into manifests and into Dagster's records.
        self.links[name] = harmless(hidden(str(tracker.link)))[:_LONGEST_LINK]

    def _guarded(self, name: str, act: Callable[[], None]) -> None:
        try:
            with without_keys():
                act()
        except (Exception, SystemExit) as error:  # noqa: BLE001 - a library, a disk or a server of another's
            self._open.pop(name, None)
            self.links.pop(name, None)
            self._note(f"the tracker {name} is switched off for this run, and training goes on: {_words(error)}")


def _words(error: BaseException) -> str:
    """The beginning of what a library says, without keys: also those that it knows of a file."""
    try:
        text = str(error)
        shown = hidden(" ".join(text[:_READ].split()))
    except Exception:  # noqa: BLE001 - of an error of a foreign class, whose text is one more
        return type(error).__name__
    if len(text) > _READ:  # the half of a key that was cut is not found
        shown = shown[: max(0, len(shown) - _LONGEST_KEY)]
    return harmless(shown)[:_SHOWN] or type(error).__name__
