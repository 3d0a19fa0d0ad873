# SPDX-License-Identifier: MIT
"""The options of ``fastgear serve``: their definitions, and how its command line, environment and file become values."""

from __future__ import annotations

import argparse
import dataclasses
import socket
from pathlib import Path
from typing import Any

import pytest

from fastgear.cli.common import CommandError, Parser, UsageError
from fastgear.cli.options import given_options
from fastgear.cli.settings import KINDS, Settings, add_settings, read_settings
from fastgear.config import ServerConfig, SupervisorConfig, options
from fastgear.config.gearmand import GearmandConfig
from fastgear.config.service import ServiceConfig
from fastgear.config.table import options_page
from fastgear.errors import ConfigError

ROOT = Path(__file__).parent.parent.parent


def parse(*words: str) -> argparse.Namespace:
    parser = Parser(prog="fastgear serve")
    add_settings(parser)
    return parser.parse_all(words)


def settings(*words: str, file: str | None = None, folder: Path | None = None, **environment: str) -> Settings:
    if file is not None:
        assert folder is not None
        (folder / "file").write_text(file)
        words = (*words, "--config-file", str(folder / "file"))
    return read_settings(parse(*words), environment)


# -- the definitions


def test_every_option_has_a_flag_an_environment_name_and_a_help_of_its_own() -> None:
    every = [(kind, name, option) for kind in KINDS for name, option, _ in options(kind)]
    for kind in KINDS:
        assert [name for one, name, _ in every if one is kind] == [field.name for field in dataclasses.fields(kind)]
    for names in (
        [name for _, name, _ in every],
        [flag for _, _, option in every for flag in option.flags],
        [option.env for _, _, option in every],
    ):
        assert len(set(names)) == len(names)
    assert all(option.help and option.env.startswith("FASTGEAR_") for _, _, option in every)


@pytest.mark.parametrize("kind", list(KINDS))
def test_the_defaults_are_fine_and_survive_every_way_to_give_them(kind: Any, tmp_path: Path) -> None:
    config = kind()
    for name, option, default in options(kind):
        if default in (None, "", False, True) or name in ("listen", "verbose"):
            continue
        text = f"{default:g}" if isinstance(default, float) else str(default)
        assert given_options(parse(option.flags[0], text), {}, kind) == {name: default}
        assert given_options(parse(f"{option.flags[0]}={text}"), {}, kind) == {name: default}
        assert given_options(parse(), {option.env: text}, kind) == {name: default}
        assert option.take(default) == getattr(config, name)


def test_the_page_of_options_is_current() -> None:
    page = ROOT / "docs" / "options.md"
    assert page.read_text() == options_page(), "run python -m fastgear.config.table > docs/options.md"


# -- the command line, as gearmand's parser takes it


@pytest.mark.parametrize(
    ("words", "name", "value"),
    [
        ("--backlog 7", "backlog", 7),
        ("--backlog=7", "backlog", 7),
        ("-b 7", "backlog", 7),
        ("-b7", "backlog", 7),
        ("-j -1", "job_retries", -1),
        ("--job-retries=-1", "job_retries", -1),
        ("--keepalive-idle -1", "keepalive_idle_s", -1),
        ("-dp 80", "port", 80),
        ("-dR", "round_robin", True),
        ("-p gearman", "port", "gearman"),
        ("--listen a --listen b:1", "listen", ["a", "b:1"]),
        ("-P /x", "pid_file", "/x"),
        ("-l none", "log_file", "none"),
        ("-u nobody", "user", "nobody"),
        ("-f 100", "file_descriptors", 100),
        ("-t 4", "threads", 4),
        ("-w 0", "worker_wakeup", 0),
        ("-q builtin", "queue_type", "builtin"),
        ("-r http", "protocol", "http"),
        ("--check-config", "check_args", True),
        ("--no-daemon", "daemon", False),
    ],
)
def test_a_flag_is_taken_in_every_form(words: str, name: str, value: Any) -> None:
    assert getattr(parse(*words.split()), name) == value


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--port", "--port/-p: a value is missing"),
        ("--port=", "--port/-p: a value is missing"),
        ("--backlog abc", "--backlog/-b: 'abc' is not a whole number"),
        ("--backlog 1_000", "--backlog/-b: '1_000' is not a whole number"),
        ("--coredump=yes", "--coredump/--no-coredump: takes no value"),
        ("-p 1 -p 2", "--port/-p: cannot be given more than once"),
        ("-d --daemon", "--daemon/--no-daemon/-d: cannot be given more than once"),
        ("word", "unrecognised option 'word'"),
        ("--log", "unrecognised option '--log'"),
        ("--verbos=INFO", "unrecognised option '--verbos=INFO'"),
        ("-vvv", "unrecognised option '-vvv'"),
    ],
)
def test_a_bad_flag_is_one_sentence_that_names_it(words: str, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse(*words.split())
    assert (str(caught.value), caught.value.program, caught.value.code) == (message, "fastgear serve", 2)


# -- precedence


def test_flags_come_before_the_environment_and_that_before_the_file(tmp_path: Path) -> None:
    file = "backlog = 1\nmax-queue = 1\nmax-memory = 1\n"
    found = settings("--backlog=3", file=file, folder=tmp_path, FASTGEAR_BACKLOG="2", FASTGEAR_MAX_QUEUE="2")
    assert (found.server.backlog, found.server.max_queue, found.server.max_memory) == (3, 2, 1)
    assert [found.given[name].where for name in ("backlog", "max_queue", "max_memory")] == [
        "--backlog",
        "FASTGEAR_MAX_QUEUE",
        f"{tmp_path}/file, line 3: max-memory",
    ]


def test_the_environment_names_the_file_too(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("backlog = 5")
    assert settings(FASTGEAR_CONFIG_FILE=str(tmp_path / "file")).server.backlog == 5


def test_gearmand_s_name_for_the_port_counts_as_its_own_and_comes_second() -> None:
    assert settings(GEARMAND_PORT="1").server.listen == ("127.0.0.1:1",)
    assert settings(GEARMAND_PORT="1", FASTGEAR_PORT="2").server.listen == ("127.0.0.1:2",)
    assert settings("-p", "3", GEARMAND_PORT="1").server.listen == ("127.0.0.1:3",)


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({"GEARMAND_PORT": "70000"}, "GEARMAND_PORT: 70000 is no port; it is a number from 0 to 65535"),
        ({"GEARMAND_PORT": ""}, "GEARMAND_PORT: '' is no port"),
        ({"GEARMAND_PORT": 5000 * "1"}, "GEARMAND_PORT: '1+' is no port and no service's name"),
        ({"GEARMAND_PORT": "no such service"}, "GEARMAND_PORT: 'no such service' is no port and no service's name"),
        ({"FASTGEAR_DAEMON": "maybe"}, "FASTGEAR_DAEMON: 'maybe' is neither yes nor no"),
        ({"FASTGEAR_MAX_QUEUE": "many"}, "FASTGEAR_MAX_QUEUE: 'many' is not a whole number"),
        ({"FASTGEAR_LISTEN": " , "}, "FASTGEAR_LISTEN: a server needs at least one address"),
        ({"FASTGEAR_MAX_AGE": "nan"}, "FASTGEAR_MAX_AGE: nan is out of range"),
    ],
)
def test_a_bad_variable_is_named(environment: dict[str, str], message: str) -> None:
    with pytest.raises(ConfigError, match=f"^{message}"):
        settings(**environment)


# -- addresses


@pytest.mark.parametrize(
    ("words", "listen"),
    [
        ("", ("127.0.0.1:4730",)),
        ("-p 80", ("127.0.0.1:80",)),
        ("-L localhost", ("localhost:4730",)),
        ("-L 10", ("10:4730",)),
        ("-L ::1 -p 80", ("[::1]:80",)),
        ("-L [::1] -p 80", ("[::1]:80",)),
        ("-L [::1]:81 -L b -L :82 -p 80", ("[::1]:81", "b:80", ":82")),
        ("-L 0.0.0.0 -L unix:/s -L fd:3 -p 80", ("0.0.0.0:80", "unix:/s", "fd:3")),
    ],
)
def test_an_address_without_a_port_gets_the_one_of_the_option(words: str, listen: tuple[str, ...]) -> None:
    found = settings(*words.split())
    assert (found.server.listen, found.listens) == (listen, "-L" in words)


def test_a_port_may_be_a_service_s_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "getservbyname", lambda name, protocol: {("gearman", "tcp"): 4730}[name, protocol])
    assert settings("--port=gearman", "--listen=h").server.listen == ("h:4730",)


# -- files


@pytest.mark.parametrize(
    ("file", "name", "value"),
    [
        ("backlog = 7", "backlog", 7),
        ("# first\n\n  'backlog'= 7 # seven", "backlog", 7),
        ("port = 80", "port", 80),
        ("port = 'gearman'", "port", "gearman"),
        ("daemon = true", "daemon", True),
        ("listen = 'a'", "listen", ("a",)),
        ("listen = ['a', 'unix:/s']", "listen", ("a", "unix:/s")),
        ("max-age = 3", "max_age_s", 3),
        ("max-age = 3.5", "max_age_s", 3.5),
        ("import = 'tasks'", "target", "tasks"),
        ("--backlog=7", "backlog", 7),
        ("# first\n--backlog\n7 # seven", "backlog", 7),
        ("-b 7 -d\t--job-retries -1\r\n", "job_retries", -1),
        ("-L a -L b", "listen", ("a", "b")),
        ("--keepalive\n--exceptions", "exceptions", True),
        ("--no-keepalive", "keepalive", False),
    ],
)
def test_a_file_has_toml_or_gearmand_s_words(
    file: str, name: str, value: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(socket, "getservbyname", lambda name, protocol: 4730)
    assert settings(file=file, folder=tmp_path).given[name].value == value


def test_an_empty_file_says_nothing(tmp_path: Path) -> None:
    for text in ("", "\n# nothing\n"):
        assert set(settings(file=text, folder=tmp_path).given) == {"config_file"}


@pytest.mark.parametrize(
    ("file", "message"),
    [
        ("port = 1\nbacklog = 0", "line 2: backlog: 0 is out of range; it is from 1 to"),
        ("backlog = '7'", "line 1: backlog: '7' is not a whole number"),
        ("backlog = true", "line 1: backlog: True is not a whole number"),
        ("port = true", "line 1: port: True is no port"),
        ("port = 1.5", "line 1: port: 1.5 is no port"),
        ("daemon = 'yes'", "line 1: daemon: 'yes' is neither true nor false"),
        ("pid-file = 3", "line 1: pid-file: 3 is no text; put it in quotes"),
        ("listen = [1]", r"line 1: listen: \[1\] is neither a text nor a list of texts"),
        ("listen = []", "line 1: listen: a server needs at least one address"),
        ("\njob_retries = 3", "line 2: job_retries: there is no such option; is job-retries meant"),
        ("x = 3", "line 1: x: there is no such option$"),
        ("[server]\nport = 3", "line 1: server: there is no such option"),
        ("backlog = 0x" + 5000 * "f", "line 1: backlog: the number is out of range"),
        ("backlog = " + 5000 * "9", ""),
        ("backlog = " + 5000 * "[", ""),
        ("log-file = /x", r"Invalid value \(at line 1, column 12\)"),
        ("word", "Expected '=' after a key"),
        ("config-file = 'x'", "line 1: config-file: a configuration file cannot name another one"),
        ("--daemon\n--config-file x", "line 2: --config-file: a configuration file cannot name another one"),
        ("--daemon\n--backlog x", "line 2: --backlog/-b: 'x' is not a whole number"),
        ("--daemon\n\n--backlog 0", "line 3: --backlog: 0 is out of range"),
        ("--backlog 1\n\nword", "line 3: unrecognised option 'word'"),
        ("--backlog\n\nx", "line 1: --backlog/-b: 'x' is not a whole number"),
        ("listen = ['a', '']", "line 1: listen: an address is empty; every interface is :4730"),
        ("-d\n--nothing", "line 2: unrecognised option '--nothing'"),
        ("-d\n-d", "line 2: --daemon/--no-daemon/-d: cannot be given more than once"),
    ],
)
def test_a_bad_file_is_one_sentence_with_its_line(file: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=f"^{tmp_path}/file[,:].*{message}"):
        settings(file=file, folder=tmp_path)


def test_a_bad_line_is_told_also_where_a_flag_comes_first(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="line 1: backlog: 0 is out of range"):
        settings("--backlog=3", file="backlog = 0", folder=tmp_path)


def test_a_file_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--config-file: /no/such cannot be read: No such file or directory"):
        settings("--config-file=/no/such")
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match="binary cannot be read: it is no UTF-8 text"):
        settings(f"--config-file={tmp_path}/binary")


# -- gearmand's options that are not ours


def test_each_of_gearmand_s_own_options_is_refused_or_remarked_upon() -> None:
    seen = 0
    for name, option, _ in options(GearmandConfig):
        flag = option.flags[0]
        words = [flag] if option.kind == "switch" else [flag, "3"]
        seen += 1
        if option.refused:
            with pytest.raises(CommandError, match=f"^{flag}: {option.refused}$") as caught:
                settings(*words)
            assert caught.value.code == 1
        else:
            assert settings(*words).remarks == (f"{flag} has no effect: {option.without_effect}",)
        if option.kind == "switch":
            assert settings(f"--no-{option.name}").remarks == ()
        assert name.replace("_", "-") == option.name
    assert seen > 30


def test_no_store_is_the_store_there_is() -> None:
    for value in ("builtin", "Builtin", "none"):
        (remark,) = settings("-q", value).remarks
        assert remark.startswith("--queue-type has no effect: jobs are kept in memory")
    with pytest.raises(CommandError, match="--queue-type: fastgear keeps jobs in memory, or in SQLite"):
        settings("-q", "Postgres")


def test_gearmands_sqlite_queue_is_a_store() -> None:
    found = settings("-q", "LibSQLite3", "--libsqlite3-db", "f")
    assert (found.server.store, found.server.durability, found.server.store_table) == ("f", "full", "gearman_queue")
    assert found.remarks == ()
    more = ("--libsqlite3-table", "t", "--store-queue-on-shutdown")
    found = settings("-q", "libsqlite3", "--libsqlite3-db", "f", *more)
    assert (found.server.durability, found.server.store_table) == ("on-shutdown", "t")
    assert settings("-q", "libsqlite3", "--libsqlite3-db", "f", *more, "--durability", "off").server.durability == "off"
    with pytest.raises(ConfigError, match="--queue-type: say which file, with --libsqlite3-db FILE"):
        settings("-q", "libsqlite3")
    with pytest.raises(ConfigError, match="--libsqlite3-db: the store is already named by --store"):
        settings("-q", "libsqlite3", "--libsqlite3-db", "f", "--store", "g")


def test_no_second_try_is_remarked_upon_since_it_once_was_no_limit() -> None:
    (remark,) = settings("-j", "0").remarks
    assert remark.startswith("--job-retries: 0 is no second try, as in gearmand 2.0")
    assert settings("-j", "1").remarks == ()


def test_options_of_a_store_without_one_are_told(tmp_path: Path) -> None:
    words = ("--durability=full", "--store-memory=1000", "--dead-after=3", "--libsqlite3-table=queue")
    remarks = settings(*words).remarks
    assert sorted(remarks) == sorted(
        f"{word.split('=')[0]} has no effect without --store: no job is stored" for word in words
    )
    assert (
        settings(*words, "--store=x").remarks == settings(*words, "-q", "libsqlite3", "--libsqlite3-db=x").remarks == ()
    )


def test_workers_need_something_to_run(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"^--workers: say what they are to run"):
        settings("--workers=2")
    with pytest.raises(ConfigError, match="line 1: workers: say what they are to run"):
        settings(file="workers = 2", folder=tmp_path)
    assert settings(FASTGEAR_WORKERS="2").supervisor.workers == 2  # which may be meant for fastgear worker
    assert settings("--workers=2", "--import=m").service.target == "m"


def test_a_configuration_made_in_a_program_is_checked_too() -> None:
    for make, message in (
        (lambda: ServiceConfig(port=""), "port: '' is no port"),
        (lambda: ServiceConfig(file_descriptors=-1), "file_descriptors: -1 is out of range"),
        (lambda: GearmandConfig(hashtable_buckets=0), "hashtable_buckets: 0 is out of range"),
        (lambda: ServerConfig(verbose="info"), "verbose: 'info' is not one of FATAL, ALERT"),
        (
            lambda: ServerConfig(keepalive_idle_s=0),
            "keepalive_idle_s: 0 is out of range; it is from 1 to 32,767, or -1",
        ),
        (lambda: SupervisorConfig(max_age_s="1"), "max_age_s: '1' is not a number"),
    ):
        with pytest.raises(ConfigError, match=f"^{message}"):
            make()
