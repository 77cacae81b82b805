"""Runs what is left of a run: signals, trackers, and a callback for each event."""

from collections.abc import Callable, Sequence
from contextlib import closing

from fki.core.types import RowScored, Step
from fki.training.runner import Runner
from fki.training.signals import handle_signals
from fki.training.tracking import track_run

OnEvent = Callable[[Step | RowScored], None]
OnNote = Callable[[str], None]


def follow_run(runner: Runner, trackers: Sequence[str], on_event: OnEvent, on_note: OnNote) -> None:
    """Run a run to its end. In the main thread, signals stop it or save it meanwhile.

    Args:
        trackers: names, such as "tensorboard"; each also gets every event.
        on_event: receives each optimizer step and each scored row.
        on_note: receives what a user should know of a tracker or a step, as a sentence.
    Raises:
        Interrupted: SIGINT or SIGTERM arrived; the run is saved and can be resumed.
        FkiError: a tracker does not start.
    """
    with (
        handle_signals() as runner.requests,
        track_run(runner, trackers) as tracking,
        closing(runner.events()) as events,
    ):
        try:
            for event in events:
                for note in tracking.log(event):
                    on_note(note)
                on_event(event)
                if isinstance(event, Step) and event.note:
                    on_note(event.note)
        except KeyboardInterrupt:  # a second signal, while an event is handled
            raise runner.interruption() from None
