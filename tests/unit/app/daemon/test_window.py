"""The page and the metrics file are opened and written as soon as they can be."""

import socket
import urllib.request
from datetime import timedelta

import pytest

from doubles.clock import FakeClock
from drkeeper.app.config.settings import WebSettings
from drkeeper.app.daemon.concerns import Concerns
from drkeeper.app.daemon.window import Window
from drkeeper.model.alarm import AlarmKind, Subject
from drkeeper.model.status import Overview


class Reader:
    """Knows of no run."""

    def run_counts(self):
        return {}


class World:
    """A window with settings, and what it finds wrong."""

    def __init__(self, settings):
        self.clock = FakeClock()
        self.concerns = Concerns(self.clock)
        self.said = []
        self.seen = Overview(host="here", at=self.clock.now(), daemon_alive=True)
        self.window = Window(
            settings,
            host="here",
            overview=lambda: self.seen,
            reader=Reader(),
            clock=self.clock,
            concerns=self.concerns,
            alive=lambda: True,
            log=lambda event, **_fields: self.said.append(event),
        )


@pytest.fixture
def world():
    made = []

    def make(**settings):
        made.append(World(WebSettings(**settings)))
        return made[-1]

    yield make
    for each in made:
        each.window.close()


def test_without_an_address_nothing_listens(world):
    """And nothing is wrong with that."""
    here = world(listen=None)
    here.window.open()
    here.window.write(here.seen)
    assert here.concerns.held() == ()


def test_an_address_that_is_taken_is_tried_again_after_a_while(world):
    """It is told once; not at every look, but soon after it is free the page is there."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        here = world(listen=f"127.0.0.1:{port}")
        here.window.open()
        (condition,) = here.concerns.held()
        assert condition.kind is AlarmKind.CONFIGURATION_INVALID
        assert condition.subject == Subject("setting", "web on here")
        assert f"127.0.0.1:{port}" in condition.message
    here.window.open()
    assert here.concerns.held() == (condition,)
    here.clock.advance(timedelta(seconds=10))
    here.window.open()
    assert here.concerns.held() == ()
    assert here.said == ["web.unavailable"]
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/health/live", timeout=10) as answer:
        assert answer.status == 200


def test_metrics_that_cannot_be_written_are_a_concern_until_they_can(world, tmp_path):
    """The folder is missing; once it is there the file is written and all is well."""
    path = tmp_path / "collector" / "drkeeper.prom"
    here = world(listen=None, textfile=path)
    for _ in range(2):
        here.window.write(here.seen)
    (condition,) = here.concerns.held()
    assert condition.subject == Subject("setting", "textfile on here")
    assert here.said == ["textfile.unwritten"]
    path.parent.mkdir()
    here.window.write(here.seen)
    assert here.concerns.held() == ()
    assert b"drkeeper_" in path.read_bytes()
