# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""
A Hub on loopback: as much of the Hugging Face Hub's HTTP API as `huggingface_hub`, `transformers` and `datasets` ask.

    with Hub() as hub:
        # HF_ENDPOINT=hub.url HF_TOKEN=hub.token HF_HUB_OFFLINE=0 HF_HUB_DISABLE_XET=1

Models and datasets, private and gated ones, branches, tags and every revision are kept in memory. Big files come by
Git LFS with one PUT each ("basic"; Xet has no open server), small ones inside of the commit. The Hub keeps a record of
what it was asked and what it was sent, and injects faults.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import re
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import PurePosixPath

import yaml
from aiohttp import web


DATE = "2026-01-01T00:00:00.000Z"
LFS_SUFFIXES = (".safetensors", ".parquet", ".bin", ".pt", ".pth", ".pkl", ".ckpt", ".png")
LFS_SIZE = 10 * 2**20  # larger files use LFS, whatever their name
PREFIXES = {"models": "", "datasets": "datasets/"}  # of addresses outside of /api

Commit = dict[str, "File"]  # path -> file: a whole tree, not what changed


@dataclass(frozen=True)
class File:
    content: bytes = field(repr=False)
    lfs: bool = False

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.content).hexdigest()

    @property
    def oid(self) -> str:
        """As Git names it: of the content, or of the pointer to it."""
        content = self.content
        if self.lfs:
            content = b"version https://git-lfs.github.com/spec/v1\noid sha256:%s\nsize %d\n" % (
                self.sha256.encode(),
                len(content),
            )
        return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()

    @property
    def etag(self) -> str:
        return self.sha256 if self.lfs else self.oid


@dataclass
class Repo:
    owner: str
    private: bool
    gated: str | bool = False
    commits: dict[str, Commit] = field(default_factory=dict)  # oldest first
    titles: dict[str, str] = field(default_factory=dict)
    branches: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    storage: dict[str, bytes] = field(default_factory=dict)  # sha256 -> content of LFS files

    def add(self, files: Commit, title: str, branch: str = "main") -> str:
        tree = sorted((path, file.oid) for path, file in files.items())
        parent = self.branches.get(branch)
        commit = hashlib.sha1(json.dumps([self.owner, len(self.commits), parent, title, tree]).encode()).hexdigest()
        self.commits[commit], self.titles[commit] = files, title
        self.branches[branch] = commit
        return commit

    def resolve(self, revision: str) -> str:
        commit = self.branches.get(revision) or self.tags.get(revision) or revision
        if commit not in self.commits:
            raise Refusal(404, "RevisionNotFound", f"Invalid rev id: {revision}")
        return commit


class Refusal(Exception):
    """An answer of the Hub that is an error: status, machine-readable code, message."""

    def response(self) -> web.Response:
        status, code, message = self.args
        headers = {"X-Error-Message": message, **({"X-Error-Code": code} if code else {})}
        return web.json_response({"error": message}, status=status, headers=headers)


class Hub:
    """
    A context manager; `url` is the endpoint while it is open.

    Args:
        fault (callable, *optional*): method and path of a request -> name of a fault, or `None`: `"HTTP 500"` (any
            status), `"drop"` (the connection ends without an answer), `"cut"` (it ends amid what is sent), `"hold"`
            (nothing is read or answered until the client is gone). [`once`] makes one.
        page_size (`int`): entries of a tree in one answer.

    Attributes:
        token, user: of the owner of the repos `user/...`; `other_token` is of somebody else.
        repos (`dict`): `("models" or "datasets", id)` -> [`Repo`].
        requests (`list`): method and path of everything that was asked.
        received (`Counter`): sha256 of an LFS file -> how often its whole content was sent.
        holding (`threading.Event`): set when a request is being held.
    """

    token, other_token, user = "hf_owner", "hf_other", "user"

    def __init__(self, fault: Callable[[str, str], str | None] | None = None, page_size: int = 1000):
        self.fault, self.page_size = fault, page_size
        self.users = {self.token: self.user, self.other_token: "other"}
        self.repos: dict[tuple[str, str], Repo] = {}
        self.requests: list[tuple[str, str]] = []
        self.received: Counter[str] = Counter()
        self.holding = threading.Event()

    def environment(self, token: str | None = token) -> dict[str, str]:
        """Variables of a process that uses this Hub."""
        variables = {
            "HF_ENDPOINT": self.url,
            "HF_HUB_OFFLINE": "0",
            "HF_HUB_DISABLE_XET": "1",
            "HF_TOKEN": token or "",
        }
        return {**variables, "HF_HUB_DISABLE_TELEMETRY": "1", "NO_PROXY": "127.0.0.1"}

    def commits(self, kind: str, repo_id: str) -> list[str]:
        """The commits of `main`, the first one (which holds `.gitattributes`) left out."""
        return list(self.repos[kind, repo_id].commits)[1:]

    def add_commit(self, kind: str, repo_id: str, files: dict[str, bytes], title: str = "by hand") -> str:
        """A commit to `main` without any request; the repo is public where it is new. Returns the commit's hash."""
        repo = self.repos.get((kind, repo_id)) or self._new_repo(kind, repo_id, private=False)
        new = {path: File(content, _is_lfs(path, len(content))) for path, content in files.items()}
        repo.storage.update({file.sha256: file.content for file in new.values() if file.lfs})
        return repo.add({".gitattributes": File(GITATTRIBUTES), **new}, title)

    def __enter__(self) -> Hub:
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self.thread.start()
        asyncio.run_coroutine_threadsafe(self._start(), self.loop).result(10)
        return self

    def __exit__(self, *_) -> None:
        asyncio.run_coroutine_threadsafe(self.runner.cleanup(), self.loop).result(20)
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join(10)
        self.loop.close()

    async def _start(self) -> None:
        app = web.Application(client_max_size=2**30, middlewares=[self._answer])
        api = "/api/{kind:models|datasets}/{owner}/{name}"
        at = "{kind:(datasets/)?}{owner}/{name}"
        app.add_routes(
            [
                web.get("/api/whoami-v2", self._whoami),
                web.post("/api/repos/create", self._create),
                web.post("/api/validate-yaml", self._validate_card),
                web.put(f"{api}/settings", self._settings),
                web.get(api, self._info),
                web.get(f"{api}/revision/{{revision}}", self._info),
                web.get(f"{api}/refs", self._refs),
                web.get(f"{api}/commits/{{revision}}", self._history),
                web.get(f"{api}/tree/{{revision}}{{path:(/.*)?}}", self._tree),
                web.post(f"{api}/paths-info/{{revision}}", self._paths),
                web.post(f"{api}/branch/{{branch}}", self._branch),
                web.post(f"{api}/tag/{{revision}}", self._tag),
                web.post(f"{api}/preupload/{{revision}}", self._preupload),
                web.post(f"{api}/commit/{{revision}}", self._commit),
                web.post(f"/{at}.git/info/lfs/objects/batch", self._lfs_batch),
                web.post(f"/{at}.git/info/lfs/verify", self._lfs_verify),
                web.put("/storage/{kind}/{owner}/{name}/{oid}", self._store),
                web.get(f"/{at}/resolve/{{revision}}/{{path:.+}}", self._resolve),
            ]
        )
        self.runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self.runner.setup()
        site = web.TCPSite(self.runner, "127.0.0.1", 0)
        await site.start()
        self.url = f"http://127.0.0.1:{site._server.sockets[0].getsockname()[1]}"

    @web.middleware
    async def _answer(self, request: web.Request, handler: Callable) -> web.StreamResponse:
        self.requests.append((request.method, request.path))
        fault = self.fault and self.fault(request.method, request.path)
        if fault:
            return await self._faulty(fault, request)
        try:
            return await handler(request)
        except Refusal as refusal:
            return refusal.response()

    async def _faulty(self, fault: str, request: web.Request) -> web.StreamResponse:
        if fault.startswith("HTTP "):
            return Refusal(int(fault[5:]), None, "a fault for tests").response()
        if fault == "cut":
            await request.content.readany()
        if fault == "hold":
            self.holding.set()
            while request.transport and not request.transport.is_closing():
                await asyncio.sleep(0.02)
        elif request.transport:
            request.transport.abort()
        return web.Response()

    # who asks, and for which repo

    def _user(self, request: web.Request) -> str | None:
        token = request.headers.get("Authorization", "").removeprefix("Bearer ").strip()
        if token and token not in self.users:
            raise Refusal(401, None, "Invalid credentials in Authorization header")
        return self.users.get(token)

    def _repo(self, request: web.Request, write: bool = False, files: bool = False) -> Repo:
        """The repo of the address, if the user may `write` to it, or read it, or the `files` of a gated one."""
        kind, owner, name = _names(request)
        user, repo = self._user(request), self.repos.get((kind, f"{owner}/{name}"))
        if repo is None or (repo.private and user != repo.owner):
            raise Refusal(404 if user else 401, "RepoNotFound", "Repository not found")
        if files and repo.gated and user != repo.owner:
            raise Refusal(403 if user else 401, "GatedRepo", f"Access to {owner}/{name} is restricted")
        if write and user != repo.owner:
            message = "you do not have the rights to write here" if user else "Invalid username or password."
            raise Refusal(403 if user else 401, None, message)
        return repo

    def _new_repo(self, kind: str, repo_id: str, private: bool) -> Repo:
        repo = self.repos[kind, repo_id] = Repo(repo_id.split("/")[0], private)
        repo.add({".gitattributes": File(GITATTRIBUTES)}, "initial commit")
        return repo

    async def _whoami(self, request: web.Request) -> web.Response:
        user = self._user(request)
        if user is None:
            raise Refusal(401, None, "Invalid username or password.")
        return web.json_response({"type": "user", "name": user, "orgs": []})

    async def _create(self, request: web.Request) -> web.Response:
        body, user = await request.json(), self._user(request)
        kind, owner = f"{body.get('type', 'model')}s", body["organization"] or user
        if user is None:
            raise Refusal(401, None, "Invalid username or password.")
        if owner != user:
            raise Refusal(403, None, f"you may not create a repo in the namespace {owner}")
        repo_id = f"{owner}/{body['name']}"
        url = f"{self.url}/{PREFIXES[kind]}{repo_id}"
        if (kind, repo_id) in self.repos:
            return web.json_response({"error": "You already created this repo", "url": url}, status=409)
        self._new_repo(kind, repo_id, body.get("visibility") == "private")
        return web.json_response({"url": url})

    async def _validate_card(self, request: web.Request) -> web.Response:
        try:
            _card_data((await request.json())["content"])
        except yaml.YAMLError as error:
            return web.json_response({"errors": [{"message": str(error)}], "warnings": []}, status=400)
        return web.json_response({"errors": [], "warnings": []})

    async def _settings(self, request: web.Request) -> web.Response:
        repo, body = self._repo(request, write=True), await request.json()
        repo.gated = body.get("gated", repo.gated)
        if "visibility" in body:
            repo.private = body["visibility"] == "private"
        return web.json_response(body)

    # reading

    async def _info(self, request: web.Request) -> web.Response:
        kind, owner, name = _names(request)
        repo = self._repo(request)
        commit = repo.resolve(request.match_info.get("revision", "main"))
        files = repo.commits[commit]
        card = _card_data(files["README.md"].content.decode()) if "README.md" in files else {}
        info = {"id": f"{owner}/{name}", "author": owner, "sha": commit, "lastModified": DATE, "createdAt": DATE}
        info |= {"private": repo.private, "gated": repo.gated, "disabled": False, "tags": card.get("tags", [])}
        info |= {"cardData": card, "downloads": 0, "likes": 0}
        info["siblings"] = [{"rfilename": path, "size": len(file.content)} for path, file in sorted(files.items())]
        if kind == "models":
            info |= {name: card[name] for name in ("pipeline_tag", "library_name") if name in card}
        return web.json_response(info)

    async def _refs(self, request: web.Request) -> web.Response:
        repo = self._repo(request)
        listed = {
            group: [{"name": n, "ref": f"refs/{path}/{n}", "targetCommit": commit} for n, commit in refs.items()]
            for group, path, refs in (("branches", "heads", repo.branches), ("tags", "tags", repo.tags))
        }
        return web.json_response({**listed, "converts": [], "pullRequests": []})

    async def _history(self, request: web.Request) -> web.Response:
        repo = self._repo(request)
        commits = list(repo.commits)
        commits = commits[: commits.index(repo.resolve(request.match_info["revision"])) + 1]
        authors = [{"user": repo.owner}]
        rows = [{"id": c, "title": repo.titles[c], "message": "", "date": DATE, "authors": authors} for c in commits]
        return web.json_response(rows[::-1])

    async def _tree(self, request: web.Request) -> web.Response:
        repo = self._repo(request)
        commit = repo.resolve(request.match_info["revision"])
        entries, folder = _entries(repo, commit), request.match_info["path"].strip("/")
        if folder and folder not in entries:
            raise Refusal(404, "EntryNotFound", f"{folder} does not exist on {commit}")
        inside = [path for path in sorted(entries) if not folder or path.startswith(f"{folder}/")]
        if request.query.get("recursive", "false").lower() != "true":
            inside = [path for path in inside if "/" not in path[len(folder) + bool(folder) :]]
        start = int(request.query.get("cursor", 0))
        end = start + self.page_size
        following = self.url + str(request.rel_url.update_query(cursor=str(end)))
        headers = {"Link": f'<{following}>; rel="next"'} if end < len(inside) else {}
        return web.json_response([entries[path] for path in inside[start:end]], headers=headers)

    async def _paths(self, request: web.Request) -> web.Response:
        repo = self._repo(request)
        entries = _entries(repo, repo.resolve(request.match_info["revision"]))
        asked = (await request.post()).getall("paths", [])
        return web.json_response([entries[path.strip("/")] for path in asked if path.strip("/") in entries])

    async def _resolve(self, request: web.Request) -> web.Response:
        repo = self._repo(request, files=True)
        commit = repo.resolve(request.match_info["revision"])
        file = repo.commits[commit].get(request.match_info["path"])
        headers = {"X-Repo-Commit": commit, "Accept-Ranges": "bytes"}
        if file is None:
            response = Refusal(404, "EntryNotFound", f"{request.match_info['path']} does not exist").response()
            response.headers.update(headers)
            return response
        headers |= {
            "ETag": f'"{file.etag}"',
            "X-Linked-ETag": f'"{file.etag}"',
            "X-Linked-Size": str(len(file.content)),
        }
        wanted = re.fullmatch(r"bytes=(\d+)-(\d*)", request.headers.get("Range", ""))
        if wanted is None:
            return web.Response(body=file.content, headers=headers)
        start, end = int(wanted[1]), min(int(wanted[2] or len(file.content)), len(file.content) - 1)
        headers["Content-Range"] = f"bytes {start}-{end}/{len(file.content)}"
        status = 206 if start <= end else 416
        return web.Response(body=file.content[start : end + 1], status=status, headers=headers)

    # writing

    async def _branch(self, request: web.Request) -> web.Response:
        repo, branch = self._repo(request, write=True), request.match_info["branch"]
        if branch in repo.branches:
            raise Refusal(409, None, f"the branch {branch} exists already")
        start = (await request.json()).get("startingPoint", "main")
        repo.branches[branch] = repo.resolve(start)
        return web.json_response({})

    async def _tag(self, request: web.Request) -> web.Response:
        repo, tag = self._repo(request, write=True), (await request.json())["tag"]
        if tag in repo.tags:
            raise Refusal(409, None, f"the tag {tag} exists already")
        repo.tags[tag] = repo.resolve(request.match_info["revision"])
        return web.json_response({})

    async def _preupload(self, request: web.Request) -> web.Response:
        repo = self._repo(request, write=True)
        there = repo.commits[repo.resolve(request.match_info["revision"])]
        answers = []
        for file in (await request.json())["files"]:
            path, lfs = file["path"], _is_lfs(file["path"], file["size"])
            oid = there[path].etag if path in there else None
            answers.append(
                {"path": path, "uploadMode": "lfs" if lfs else "regular", "shouldIgnore": False, "oid": oid}
            )
        return web.json_response({"files": answers})

    async def _lfs_batch(self, request: web.Request) -> web.Response:
        repo = self._repo(request, write=True)
        kind, owner, name = _names(request)
        address = f"{self.url}/storage/{kind}/{owner}/{name}"
        verify = {"href": f"{self.url}/{PREFIXES[kind]}{owner}/{name}.git/info/lfs/verify"}
        objects = []
        for wanted in (await request.json())["objects"]:
            answer = {"oid": wanted["oid"], "size": wanted["size"]}
            if wanted["oid"] not in repo.storage:
                answer["actions"] = {"upload": {"href": f"{address}/{wanted['oid']}"}, "verify": verify}
            objects.append(answer)
        return web.json_response({"transfer": "basic", "objects": objects})

    async def _store(self, request: web.Request) -> web.Response:
        kind, owner, name = _names(request)
        content = await request.read()
        oid = hashlib.sha256(content).hexdigest()
        if oid != request.match_info["oid"]:
            raise Refusal(400, None, "the content has another hash")
        self.received[oid] += 1
        self.repos[kind, f"{owner}/{name}"].storage[oid] = content
        return web.Response()

    async def _lfs_verify(self, request: web.Request) -> web.Response:
        repo, wanted = self._repo(request, write=True), await request.json()
        if len(repo.storage.get(wanted["oid"], b"")) != wanted["size"]:
            raise Refusal(422, None, "the object is not here, or of another size")
        return web.Response()

    async def _commit(self, request: web.Request) -> web.Response:
        kind, owner, name = _names(request)
        repo, branch = self._repo(request, write=True), request.match_info["revision"]
        header, *operations = [json.loads(line) for line in (await request.read()).splitlines()]
        head = repo.resolve(branch)
        if header["value"].get("parentCommit", head) != head:
            raise Refusal(412, None, "a commit has happened since")
        files = dict(repo.commits[head])
        for operation in operations:
            _apply(operation["key"], operation["value"], files, repo.storage)
        commit = repo.add(files, header["value"]["summary"], branch)
        url = f"{self.url}/{PREFIXES[kind]}{owner}/{name}/commit/{commit}"
        return web.json_response({"success": True, "commitOid": commit, "commitUrl": url})


def once(method: str, pattern: str, fault: str) -> Callable[[str, str], str | None]:
    """A `fault` of [`Hub`] for the first request of that method whose path has `pattern` (a regular expression)."""
    left = [fault]
    return lambda asked, path: left.pop() if left and asked == method and re.search(pattern, path) else None


def _names(request: web.Request) -> tuple[str, str, str]:
    kind = request.match_info["kind"].strip("/") or "models"
    return kind, request.match_info["owner"], request.match_info["name"]


def _is_lfs(path: str, size: int) -> bool:
    return size > LFS_SIZE or (size > 0 and path.endswith(LFS_SUFFIXES))


def _card_data(text: str) -> dict:
    """The YAML header of a card."""
    header = re.match(r"---\n(.*?)\n---", text, re.DOTALL)
    return (yaml.safe_load(header[1]) if header else None) or {}


def _entries(repo: Repo, commit: str) -> dict[str, dict]:
    """Path -> the API's description of that file or folder."""
    last = {"id": commit, "title": repo.titles[commit], "date": DATE}
    entries = {}
    for path, file in repo.commits[commit].items():
        for folder in PurePosixPath(path).parents:
            name = hashlib.sha1(str(folder).encode()).hexdigest()
            entries[str(folder)] = {"type": "directory", "path": str(folder), "oid": name, "size": 0}
        entry = {"type": "file", "path": path, "oid": file.oid, "size": len(file.content), "lastCommit": last}
        if file.lfs:
            entry["lfs"] = {"oid": file.sha256, "size": len(file.content), "pointerSize": 134}
        entries[path] = entry
    entries.pop(".", None)
    return entries


def _apply(kind: str, value: dict, files: Commit, storage: dict[str, bytes]) -> None:
    """One operation of a commit, on the tree `files`."""
    path = value["path"]
    if kind == "file":
        files[path] = File(base64.b64decode(value["content"]))
    elif kind == "lfsFile":
        if value["oid"] not in storage:
            raise Refusal(400, None, f"the LFS object of {path} was never sent")
        files[path] = File(storage[value["oid"]], lfs=True)
    else:  # deletedFile, deletedFolder
        gone = [name for name in files if name == path or name.startswith(f"{path.rstrip('/')}/")]
        if not gone:
            raise Refusal(404, "EntryNotFound", "A file with this name doesn't exist")
        for name in gone:
            del files[name]


GITATTRIBUTES = "".join(f"*{suffix} filter=lfs diff=lfs merge=lfs -text\n" for suffix in LFS_SUFFIXES).encode()
