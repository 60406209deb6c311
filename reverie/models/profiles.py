"""The profiles that are kept: what each model on each server was found to be able to do.

One JSON file for an address and a model, under ``profiles`` in Reverie's home. Everything here
blocks for a moment: asynchronous code calls it in a thread.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Final, Literal
from urllib.parse import urlsplit

from filelock import FileLock, Timeout
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from reverie.errors import ConfigError, KnowledgeUnavailable
from reverie.models.profile import ModelProfile

FORMAT: Final = 1
"""Of the files. Raised whenever an older Reverie could misread a newer one's."""

Source = Literal["doctor", "preset", "cautious"]

_LOCK_SECONDS = 10.0
_SLUG = 60
"""Most characters of the readable part of a file's name."""
_PORTS = {"http": 80, "https": 443}


class Speed(BaseModel):
    """How fast a server answered so many requests at the same time."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    concurrent: int = Field(gt=0)
    first_token_seconds: float = Field(ge=0, description="Median over the requests")
    tokens_per_second: float = Field(ge=0, description="Of all requests together")
    tokens: int = Field(gt=0, description="How many were generated to measure it")


class Correction(BaseModel):
    """A field of a profile that proved wrong in use."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    field: str
    was: Any
    now: Any
    why: str
    when: datetime


class StoredProfile(BaseModel):
    """A profile with where it came from. Holds no secret."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    address: str
    model: str
    profile: ModelProfile
    server: str = Field("", description="The program that serves: vLLM, Ollama, ...")
    version: str = Field("", description="Its version")
    probed: datetime | None = Field(None, description="When the doctor looked, UTC; None: never")
    source: Source = "cautious"
    speeds: tuple[Speed, ...] = ()
    corrections: tuple[Correction, ...] = ()
    reverie: str = Field("", description="Version of Reverie that wrote it")


class ProfileBook:
    """The stored profiles of one folder. Several processes may use it at once.

    ``notices`` collects what a person should be told, such as a damaged file that was set aside.
    Every method may raise KnowledgeUnavailable when the folder cannot be read or written.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.notices: list[str] = []

    @classmethod
    def under(cls, home: Path) -> ProfileBook:
        """The book in Reverie's home."""
        return cls(home / "profiles")

    def path(self, address: str, model: str) -> Path:
        """The file of one model on one server, whether it exists or not."""
        address = normalised(address)
        digest = hashlib.sha256(f"{address}\n{model}".encode("utf-8", "replace")).hexdigest()
        readable = re.sub(r"[^A-Za-z0-9.]+", "-", f"{address.partition('://')[2]}-{model}")
        # A leading dot would hide the file, a trailing one confuse some file systems.
        return self.folder / f"{readable[:_SLUG].strip('-.')}-{digest[:10]}.json"

    def find(self, address: str, model: str) -> StoredProfile | None:
        """What is known of ``model`` at ``address``; None when nothing is, or none can be read."""
        path = self.path(address, model)
        with _translated(path):
            if not path.exists():
                return None
            with self._locked():
                return self._read(path)

    def write(self, stored: StoredProfile) -> StoredProfile:
        """Store a profile in place of the earlier one; returns it as it was stored."""
        address = normalised(stored.address)
        stored = stored.model_copy(update={"address": address, "reverie": _reverie_version()})
        path = self.path(address, stored.model)
        with _translated(path), self._locked():
            self._make_room(path)
            self._write(path, stored)
        return stored

    def correct(
        self,
        address: str,
        model: str,
        field: str,
        value: Any,
        why: str,
        *,
        start: ModelProfile | None = None,
        observed: datetime | None = None,
    ) -> StoredProfile:
        """Change one field that proved wrong in use, and note it. Returns what is stored now.

        The file is read again first, so that nothing but this field changes. When nothing is
        stored, ``start`` (or the cautious default) is what is corrected. A profile that the doctor
        wrote after ``observed`` stays as it is: the observation was of the server before.

        Raises ConfigError for a field that a profile does not have or a value it cannot have.
        """
        address = normalised(address)
        path = self.path(address, model)
        now = datetime.now(UTC)
        with _translated(path), self._locked():
            stored = self._read(path) or StoredProfile(
                address=address, model=model, profile=start or ModelProfile(name=model)
            )
            newer = stored.probed is not None and observed is not None and stored.probed > observed
            was = stored.profile.model_dump().get(field)
            if isinstance(was, tuple):  # what another process found out meanwhile stays
                value = tuple(dict.fromkeys((*was, *value)))
            profile = _changed(stored.profile, field, value)
            if newer or profile == stored.profile:
                return stored
            correction = Correction(field=field, was=was, now=value, why=why, when=now)
            stored = stored.model_copy(
                update={
                    "profile": profile,
                    "corrections": (*stored.corrections, correction),
                    "reverie": _reverie_version(),
                }
            )
            self._make_room(path)
            self._write(path, stored)
        return stored

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        self.folder.mkdir(parents=True, exist_ok=True)
        # The lock file stays: removing it would split the lock.
        with FileLock(self.folder / ".lock", timeout=_LOCK_SECONDS):
            yield

    def _read(self, path: Path) -> StoredProfile | None:
        """The file's profile; a damaged file is set aside, a newer Reverie's is left alone."""
        try:
            document = json.loads(path.read_bytes())
            if _newer(document):
                notice = f"{path} was written by a newer Reverie and is not used"
                if notice not in self.notices:
                    self.notices.append(notice)
                return None
            document.pop("format")
            return StoredProfile.model_validate(document)
        except FileNotFoundError:
            return None
        except (ValueError, RecursionError) as error:
            aside = _set_aside(path, "damaged")
            why = _first_line(error)
            self.notices.append(
                f"{path} was damaged ({why}). It is kept as {aside.name}; "
                "`reverie doctor` writes a new one"
            )
            return None

    def _make_room(self, path: Path) -> None:
        """Set aside a file that must not be written over, because this Reverie cannot read it."""
        if self._read(path) is None and path.exists():
            aside = _set_aside(path, "newer")
            self.notices.append(f"{path}, of a newer Reverie, is kept as {aside.name}")

    def _write(self, path: Path, stored: StoredProfile) -> None:
        document = {"format": FORMAT, **stored.model_dump(mode="json")}
        # A file of its own name first: whoever reads meanwhile sees the old one or the new one.
        descriptor, temporary = tempfile.mkstemp(dir=self.folder, prefix=".", suffix=".tmp")
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                json.dump(document, file, indent=2, ensure_ascii=True)
                file.write("\n")
                file.flush()
                os.fsync(file.fileno())
            Path(temporary).replace(path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise


def normalised(address: str) -> str:
    """The one way in which an address is written: lower-case host, no default port, no slash at the
    end, no user, query or fragment. ``localhost`` and ``127.0.0.1`` stay different.
    """
    try:
        parts = urlsplit(address.strip())
        host, port = parts.hostname or "", parts.port
    except ValueError as error:
        raise ConfigError(f"{address!r} is not a valid address: {error}") from error
    if not parts.scheme or not host:
        raise ConfigError(
            f"{address!r} is not the address of a server",
            hint="Write it as in http://127.0.0.1:8000/v1",
        )
    host = f"[{host}]" if ":" in host else host
    place = host if port in (None, _PORTS.get(parts.scheme)) else f"{host}:{port}"
    return f"{parts.scheme}://{place}{parts.path.rstrip('/')}"


def _changed(profile: ModelProfile, field: str, value: Any) -> ModelProfile:
    """The profile with one field changed, checked."""
    if field not in ModelProfile.model_fields:
        raise ConfigError(f"a profile has no field {field!r}")
    try:
        return ModelProfile.model_validate({**profile.model_dump(), field: value})
    except ValidationError as error:
        raise ConfigError(f"{field} of a profile cannot be {value!r}") from error


def _newer(document: Any) -> bool:
    known = document.get("format") if isinstance(document, dict) else None
    if not isinstance(known, int):
        raise ValueError("it is no profile")  # noqa: TRY004  # what every damaged file raises
    return known > FORMAT


def _set_aside(path: Path, why: str) -> Path:
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S.%fZ")
    return path.rename(path.with_name(f"{path.name}.{why}-{stamp}"))


def _first_line(error: Exception) -> str:
    if isinstance(error, ValidationError):
        found = error.errors(include_url=False)[0]
        return f"{'.'.join(map(str, found['loc']))}: {found['msg']}"
    return str(error).partition("\n")[0] or type(error).__name__


def _reverie_version() -> str:
    try:
        return version("reverie")
    except PackageNotFoundError:  # run from a checkout that is not installed
        return ""


@contextlib.contextmanager
def _translated(path: Path) -> Iterator[None]:
    try:
        yield
    except Timeout as error:
        raise KnowledgeUnavailable(
            f"{path.parent} is locked by another process for more than {_LOCK_SECONDS:.0f} s",
            hint="End that process, or set REVERIE_HOME to another folder",
        ) from error
    except OSError as error:
        raise KnowledgeUnavailable(
            f"the profile {path} cannot be read or written: {error.strerror or error}",
            hint="Free some space or set REVERIE_HOME to a folder that can be written",
        ) from error
