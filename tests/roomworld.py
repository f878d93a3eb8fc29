"""A browser of tests: asks the app for pages, keeps its cookies, follows nothing unless told."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from html import unescape

import httpx

from tests.apiworld import SECRETS, ApiWorld, AppClient

SAME = {"sec-fetch-site": "same-origin"}
CROSS = {"sec-fetch-site": "cross-site", "origin": "http://evil.example"}


@dataclass
class Browser:
    """One visitor. `page` asks for HTML, `send` submits a form of the page that is open."""

    world: ApiWorld
    cookies: dict[str, str] = field(default_factory=dict)

    def page(self, path: str) -> httpx.Response:
        """What a browser gets at a path."""
        return self.ask("GET", path, headers={"accept": "text/html,*/*;q=0.8"})

    def send(self, path: str, fields: dict[str, str], headers: dict[str, str] | None = None) -> httpx.Response:
        """The answer to a form."""
        return self.ask("POST", path, data=fields, headers=SAME if headers is None else headers)

    def sign_in(self, role: str) -> Browser:
        """As the bearer of the token with this role."""
        answer = self.send("/signin", {"token": SECRETS[role], "next": "/"})
        assert answer.status_code == 303, answer.text
        return self

    def ask(self, method: str, path: str, headers: dict[str, str] | None = None, **more: object) -> httpx.Response:
        """The answer to any request of this browser."""
        told = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        sent = {**({"cookie": told} if told else {}), **(headers or {})}
        answer = AppClient(self.world.app).ask(method, path, headers=sent, **more)
        self.cookies.update(answer.cookies.items())
        return answer


def words(answer: httpx.Response) -> str:
    """What a page says, without its markup, in one line."""
    return " ".join(unescape(re.sub(r"<[^>]*>", " ", answer.text)).split())
