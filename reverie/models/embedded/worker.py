"""The thread that runs the batch: requests join and leave it between steps."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from reverie.errors import ModelUnavailable
from reverie.models.embedded.request import Finished, GenerationRequest, TokenOut

if TYPE_CHECKING:
    from tokenizers import Tokenizer

    from reverie.models.embedded.batch import Batch, Row
    from reverie.models.embedded.grammar import Grammar

Sink = Callable[[TokenOut | Finished | Exception], None]

# Requests made together should be prefilled together; they arrive within milliseconds.
_GATHER_SECONDS = 0.003


class Ticket:
    """A request in flight: ``cancel`` makes it leave the batch before the next step."""

    __slots__ = ("_cancelled", "_over", "_sink", "grammar", "request")

    def __init__(self, request: GenerationRequest, sink: Sink) -> None:
        self.request, self._sink = request, sink
        self.grammar: Grammar | None = None
        self._cancelled = self._over = False

    def emit(self, item: TokenOut | Finished | Exception) -> None:
        """Hand over to the caller, and nothing after the end. A caller who cannot take it any more
        (its event loop is closed) must not end the thread that serves the others.
        """
        if self._over:
            return
        self._over = not isinstance(item, TokenOut)
        try:
            self._sink(item)
        except Exception:  # noqa: BLE001  # whatever it is, nobody is left to tell
            self.cancel()

    def cancel(self) -> None:
        self._cancelled = True

    @property
    def cancelled(self) -> bool:
        return self._cancelled


class Worker:
    """Owns the batch; everything but ``put`` and ``stop`` happens on its thread."""

    def __init__(self, batch: Batch, tokenizer: Tokenizer, max_batch: int) -> None:
        self._batch = batch
        self._tokenizer = tokenizer
        self._max_batch = max_batch
        self._inbox: queue.SimpleQueue[Ticket | None] = queue.SimpleQueue()
        self._stopping = False
        self._closing = threading.Lock()
        self._thread = threading.Thread(target=self._run, name="reverie-engine", daemon=True)
        self._thread.start()

    def put(self, ticket: Ticket) -> None:
        """Queue a request; raises ModelUnavailable when the thread takes no more."""
        with self._closing:
            if self._stopping:
                raise ModelUnavailable("the model was closed", hint="make a new Reasoner")
            self._inbox.put(ticket)

    def stop(self) -> None:
        """End the thread after the current step; what is in flight fails."""
        with self._closing:
            self._stopping = True
            self._inbox.put(None)
        if threading.current_thread() is not self._thread:
            self._thread.join(timeout=10)

    def _run(self) -> None:
        while True:
            tickets = self._collect(wait=not self._batch.rows)
            if self._stopping:
                waiting = [*tickets, *self._drain()]
                sinks = [t.emit for t in waiting] + [row.emit for row in self._batch.rows]
                self._batch.clear()
                _fail(sinks, "the model was closed")
                return
            try:
                rows = [self._row(ticket) for ticket in tickets if not _left(ticket)]
                if rows:
                    self._batch.admit(rows)
                if self._batch.rows:
                    self._batch.step()
            except Exception as error:  # noqa: BLE001  # becomes ModelUnavailable
                # One failed forward pass (out of memory, say) fails what was running; the engine
                # itself goes on with an empty batch.
                running = [*(t.emit for t in tickets), *(row.emit for row in self._batch.rows)]
                self._batch.clear()
                _fail(
                    running,
                    f"the model failed while generating: {type(error).__name__}: {error}",
                    error,
                )

    def _collect(self, *, wait: bool) -> list[Ticket]:
        """Requests that fit into the batch; with ``wait`` blocks until there is one."""
        tickets: list[Ticket] = []
        while len(self._batch.rows) + len(tickets) < self._max_batch:
            try:
                if wait:
                    item = self._inbox.get(timeout=_GATHER_SECONDS if tickets else None)
                else:
                    item = self._inbox.get_nowait()
            except queue.Empty:
                break
            if item is None:
                break
            tickets.append(item)
        return tickets

    def _drain(self) -> list[Ticket]:
        left: list[Ticket] = []
        while not self._inbox.empty():
            item = self._inbox.get_nowait()
            if item is not None:
                left.append(item)
        return left

    def _row(self, ticket: Ticket) -> Row:
        from reverie.models.embedded.batch import Row
        from reverie.models.embedded.sampling import Sampler
        from reverie.models.embedded.text import TextStream

        request = ticket.request
        return Row(
            request=request,
            emit=ticket.emit,
            sampler=Sampler(request.sampling),
            text=TextStream(self._tokenizer, request.sampling.stop),
            grammar=ticket.grammar,
            cancelled=lambda: ticket.cancelled,
        )


def _left(ticket: Ticket) -> bool:
    """Whether a request was cancelled while it waited; its caller is told."""
    if ticket.cancelled:
        ticket.emit(Finished("cancelled", "", len(ticket.request.prompt_ids), 0, 0))
    return ticket.cancelled


def _fail(sinks: Iterable[Sink], message: str, cause: Exception | None = None) -> None:
    for sink in sinks:
        error = ModelUnavailable(message, transient=cause is not None)
        error.__cause__ = cause
        sink(error)
