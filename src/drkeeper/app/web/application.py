"""Which address answers what; every answer is computed outside the event loop."""

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Final

import structlog
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from drkeeper.app.web import health
from drkeeper.app.web.frame import TYPES, Page, asset, framed
from drkeeper.app.web.freshness import Fresh
from drkeeper.app.web.guard import Guard
from drkeeper.app.web.metrics import CONTENT_TYPE, metrics_text
from drkeeper.app.web.pages.alarms import PAST, alarms_page
from drkeeper.app.web.pages.overview import overview_page
from drkeeper.app.web.pages.policy import POINTS, RUNS, PolicyFacts, policy_page
from drkeeper.app.web.pages.run import run_page
from drkeeper.app.web.pages.runs import A_PAGE, LAST_PAGE, runs_page
from drkeeper.app.web.pages.trouble import trouble_page
from drkeeper.app.web.pieces import policy_status
from drkeeper.app.web.reading import Reader
from drkeeper.clock import Clock
from drkeeper.errors import DrkeeperError
from drkeeper.model.run import RunState
from drkeeper.model.status import Overview

REPORT: Final = (
    "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'"
)
"""A report carries its style in itself, and allows that one alone, by its digest. Still no script."""

_YEAR_S: Final = 31_536_000
_log = structlog.get_logger()

Answer = Callable[[Request], Awaitable[Response]]


class _GoneError(Exception):
    """What was asked for does not exist; the message says what."""


@dataclass(frozen=True, slots=True)
class Pages:
    """Everything that is answered.

    Attributes:
        overview: Looks at everything now; may raise ``DrkeeperError``.
        reader: Answers about the rest.
        fresh: Keeps answers for a second.
        clock: Dates what is said when the overview cannot be had.
        alive: Whether the daemon's tick goes on; must not wait for anything.
    """

    overview: Callable[[], Overview]
    reader: Reader
    fresh: Fresh
    clock: Clock
    alive: Callable[[], bool]

    def routes(self) -> list[Route]:
        """Return the addresses."""
        shown: dict[str, Answer] = {
            "/": self._overview,
            "/policy/{name:path}": self._policy,
            "/runs": self._runs,
            "/run/{run_id}": self._run,
            "/alarms": self._alarms,
            "/report": self._report,
            "/report/{quarter}": self._report,
            "/metrics": self._metrics,
            "/health": self._health,
            "/health/live": self._live,
            "/health/ready": self._ready,
            "/static/{name}": self._asset,
        }
        return [Route(path, _never_raising(answer)) for path, answer in shown.items()]

    async def _now(self) -> Overview:
        return await self.fresh.get("overview", self.overview)

    async def _page(self, request: Request, make: Callable[[Overview], Page]) -> Response:
        overview = await self._now()
        # The same overview makes the same page, whoever asks.
        key = (overview.at, request.url.path, request.url.query)
        body = await self.fresh.get(key, lambda: framed(make(overview), overview))
        return Response(body, media_type="text/html")

    async def _overview(self, request: Request) -> Response:
        refreshing = request.query_params.get("refresh") != "off"
        return await self._page(request, lambda o: overview_page(o, refreshing=refreshing))

    async def _policy(self, request: Request) -> Response:
        name = request.path_params["name"]

        def make(overview: Overview) -> Page:
            status = policy_status(overview, name)
            if status is None:
                raise _GoneError(f"There is no policy {name}")
            runs = self.reader.runs(policy=name, limit=RUNS)
            facts = PolicyFacts(
                status,
                self.reader.words(name),
                runs,
                self.reader.points(name, limit=POINTS),
                self.reader.log(runs[0].id) if runs else None,
            )
            return policy_page(overview, facts)

        return await self._page(request, make)

    async def _runs(self, request: Request) -> Response:
        policy = request.query_params.get("policy") or None
        state = _state(request.query_params.get("state"))
        number = _page_number(request.query_params.get("page"))

        def make(overview: Overview) -> Page:
            # One more than shown tells whether there is another page.
            found = self.reader.runs(policy=policy, state=state, limit=number * A_PAGE + 1)
            rest = found[(number - 1) * A_PAGE :]
            return runs_page(overview, rest, number=number, policy=policy, state=state)

        return await self._page(request, make)

    async def _run(self, request: Request) -> Response:
        run_id = request.path_params["run_id"]

        def make(overview: Overview) -> Page:
            run = self.reader.run(run_id)
            if run is None:
                raise _GoneError(f"There is no run {run_id}")
            return run_page(overview, run, self.reader.log(run.id))

        return await self._page(request, make)

    async def _alarms(self, request: Request) -> Response:
        return await self._page(
            request, lambda overview: alarms_page(overview, self.reader.alarms(limit=PAST))
        )

    async def _report(self, request: Request) -> Response:
        quarter = request.path_params.get("quarter")
        body = await self.fresh.get(("report", quarter), lambda: self.reader.report(quarter))
        if body is None:
            raise _GoneError(f"{quarter} is not a quarter such as 2026Q4")
        return Response(body, media_type="text/html", headers={"content-security-policy": REPORT})

    async def _metrics(self, _request: Request) -> Response:
        overview = await self._now()
        text = await self.fresh.get(
            "metrics", lambda: metrics_text(overview, self.reader.run_counts())
        )
        return Response(text, headers={"content-type": CONTENT_TYPE})

    async def _components(self) -> list[health.Component]:
        try:
            return health.components(await self._now())
        except DrkeeperError as error:
            return health.ledger_failing(str(error), error.hint)

    async def _health(self, _request: Request) -> Response:
        found = await self._components()
        failing = health.worst(found) is health.Verdict.FAILING
        answer = health.as_json(found, self.clock.now())
        return JSONResponse(answer, status_code=503 if failing else 200)

    async def _live(self, _request: Request) -> Response:
        if self.alive():
            return PlainTextResponse("live\n")
        return PlainTextResponse("the tick has stopped\n", status_code=503)

    async def _ready(self, _request: Request) -> Response:
        if health.ready(await self._components()):
            return PlainTextResponse("ready\n")
        return PlainTextResponse("not ready\n", status_code=503)

    async def _asset(self, request: Request) -> Response:
        name = request.path_params["name"]
        if name not in TYPES:
            return trouble(404, f"There is no {name}", "Begin at the overview.")
        # Its address changes with its content.
        headers = {"content-type": TYPES[name], "cache-control": f"max-age={_YEAR_S}, immutable"}
        return Response(asset(name), headers=headers)


def application(pages: Pages, *, hosts: Iterable[str] | None, token: str | None) -> ASGIApp:
    """Return what the server runs: the pages behind their guard."""
    missing = {404: _not_found, 405: _not_found}
    inner = Starlette(routes=pages.routes(), exception_handlers=missing)
    return Guard(inner, refuse=trouble, hosts=hosts, token=token)


def trouble(status: int, title: str, hint: str) -> Response:
    """Return an answer that says what is wrong, as a page."""
    page = framed(trouble_page(status, title, hint), None)
    return Response(page, status_code=status, media_type="text/html")


def _never_raising(answer: Answer) -> Answer:
    """Turn every error into a page; a defect is logged, and its text stays here."""

    async def careful(request: Request) -> Response:
        try:
            return await answer(request)
        except _GoneError as error:
            return trouble(404, str(error), "It may have been renamed or removed.")
        except DrkeeperError as error:
            return trouble(503, str(error), error.hint or "Try again in a minute.")
        except Exception:  # noqa: BLE001 - a defect must not end the connection without a word
            _log.exception("page.failed", path=request.url.path)
            return trouble(500, "A defect in drkeeper", "Look at the log of the daemon.")

    return careful


def _not_found(_request: Request, _error: Exception) -> Response:
    return trouble(404, "There is no such page", "Begin at the overview.")


def _state(text: str | None) -> RunState | None:
    return RunState(text) if text in set(RunState) else None


def _page_number(text: str | None) -> int:
    digits = 2
    number = int(text) if text and text.isascii() and text.isdigit() and len(text) <= digits else 1
    return min(max(number, 1), LAST_PAGE)
