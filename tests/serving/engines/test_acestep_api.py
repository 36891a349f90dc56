"""The engine that speaks to an ACE-Step API server, against a small one that follows the published contract."""

import io
import json
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from email import message_from_bytes
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, quote, urlsplit

import numpy as np
import pytest
import soundfile

from serving.engines.acestep_api import AceStepApi, BadServerOptions, ServerTooSlow
from serving.engines.acestep_client import BadAnswer, ServerBusy, ServerRefused, ServerUnavailable
from serving.engines.acestep_order import TaskFailed, TaskLost
from serving.engines.setup import Setup
from studio.errors import MelodeonError
from studio.sound.clip import Clip
from studio.units import RATE_HZ
from studio.words.brief import Brief, BriefKind, Controls, MusicTask, UnfitBrief
from studio.words.engine_spec import ChoiceControl, EngineSpec, NumberControl
from studio.words.take import Cancelled, Progress, Sound, Sources, Take

KEY = "sesame-4711"
SPEC = EngineSpec(
    name="ace-step-api",
    label="ACE-Step server",
    version="1",
    kinds=(BriefKind.SONG,),
    controls=(
        NumberControl(name="duration_s", label="Length", least=1, most=600, step=1, default=60, unit="s"),
        NumberControl(name="tempo_bpm", label="Tempo", least=30, most=300, step=1),
        ChoiceControl(name="key", label="Key", choices=("A minor", "C major")),
    ),
    uses_guidance=False,
    note="Made by the server of the owner's choice.",
    tasks=tuple(MusicTask),
    reference=True,
)
BASE = replace(
    SPEC,
    uses_guidance=True,
    controls=(*SPEC.controls, NumberControl(name="guidance_scale", label="Guidance", least=1, most=15, step=0.5)),
)
BRIEF = Brief(
    prompt="warm indie folk",
    lyrics="[verse]\nWalking home beneath the moon\n",
    takes=2,
    engine=SPEC.name,
    controls=Controls(seed=11, duration_s=2.0, tempo_bpm=100, key="A minor"),
)


def wav(seed: int, seconds: float, rate_hz: int = RATE_HZ, channels: int = 2, form: str = "WAV") -> bytes:
    """The server's sound: noise of its seed."""
    samples = np.random.default_rng(seed).uniform(-0.5, 0.5, (round(seconds * rate_hz), channels))
    file = io.BytesIO()
    soundfile.write(file, samples, rate_hz, format=form)
    return file.getvalue()


class AceStep(ThreadingHTTPServer):
    """A small ACE-Step API server: its queue makes one sound per task, a little more at every question."""

    daemon_threads = True

    def __init__(self, port: int = 0) -> None:
        super().__init__(("127.0.0.1", port), Door)
        self.key = ""
        self.questions_until_made = 2
        self.full_for = 0
        self.asked: list[dict] = []
        self.uploads: list[dict[str, bytes]] = []
        self.authorized: list[str | None] = []
        self.tasks: dict[str, dict] = {}
        self.fetched: list[str] = []
        self.sound: Callable[[dict], bytes] = lambda fields: wav(int(fields["seed"]), float(fields["audio_duration"]))
        self.answers: dict[str, Callable[[Door], None]] = {}
        self.result: Callable[[str], dict] = lambda task: {"file": f"/v1/audio?path={quote(f'/tmp/{task}.wav', '')}"}
        self.error = ""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def row(self, task: str) -> dict:
        """One line of ``/query_result``, as the published server words it."""
        if task not in self.tasks:
            return {"task_id": task, "result": "[]", "status": 0}
        job = self.tasks[task]
        job["questions"] += 1
        item = {"file": "", "wave": "", "create_time": 1700000000, "env": "development"}
        if self.error:
            item |= {"status": 2, "progress": 0.0, "stage": "failed", "error": self.error}
        elif job["questions"] > self.questions_until_made:
            metas = {"bpm": 98, "duration": 2, "genres": "", "keyscale": "C Major", "timesignature": "4"}
            item |= {"status": 1, "metas": metas, "seed_value": "11", "dit_model": "acestep-v15-turbo"}
            item |= self.result(task)
        else:
            item |= {"status": 0, "progress": job["questions"] / 10, "stage": "diffusion"}
        return {"task_id": task, "result": json.dumps([item]), "status": item["status"], "progress_text": "a log line"}


class Door(BaseHTTPRequestHandler):
    server: AceStep

    def do_GET(self) -> None:
        if not self._special() and self._authorized():
            place = urlsplit(self.path)
            if place.path == "/v1/audio":
                self._audio(parse_qs(place.query)["path"][0])
            elif place.path == "/v1/models":
                models = [{"name": "acestep-v15-turbo", "is_default": True}]
                self.wrapped({"models": models, "default_model": "acestep-v15-turbo"})
            else:
                self.wrapped({"status": "ok", "service": "ACE-Step API", "version": "1.0"})

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self._special() or not self._authorized():
            return
        if self.path == "/query_result":
            self.wrapped([self.server.row(task) for task in json.loads(body)["task_id_list"]])
        elif self.server.full_for:
            self.server.full_for -= 1
            self.sent(429, b'{"detail": "Server busy: queue is full"}')
        else:
            task = f"task-{len(self.server.tasks)}"
            self.server.asked.append(self._fields(body))
            self.server.tasks[task] = {"questions": 0, "fields": self.server.asked[-1]}
            self.wrapped({"task_id": task, "status": "queued", "queue_position": len(self.server.tasks)})

    def _fields(self, body: bytes) -> dict:
        kind = self.headers["Content-Type"]
        if kind.startswith("application/json"):
            return json.loads(body)
        form = message_from_bytes(f"Content-Type: {kind}\r\n\r\n".encode() + body)
        parts = {part.get_param("name", header="Content-Disposition"): part for part in form.get_payload()}
        files = {name: part.get_payload(decode=True) for name, part in parts.items() if part.get_filename()}
        self.server.uploads.append(files)
        return {name: part.get_payload(decode=True).decode() for name, part in parts.items() if name not in files}

    def _audio(self, path: str) -> None:
        self.server.fetched.append(path)
        task = path.removeprefix("/tmp/").removesuffix(".wav")
        if task in self.server.tasks:
            self.sent(200, self.server.sound(self.server.tasks[task]["fields"]), "audio/wav")
        else:
            self.sent(403, b'{"detail": "Access denied: path outside allowed directory"}')

    def _special(self) -> bool:
        answer = self.server.answers.get(urlsplit(self.path).path)
        if answer is not None:
            answer(self)
        return answer is not None

    def _authorized(self) -> bool:
        given = self.headers.get("Authorization")
        self.server.authorized.append(given)
        if self.server.key and self.path != "/health" and given != f"Bearer {self.server.key}":
            self.sent(401, json.dumps({"detail": f"Invalid API key {given}"}).encode())
            return False
        return True

    def wrapped(self, data: object, code: int = 200, error: str | None = None) -> None:
        answer = {"data": data, "code": code, "error": error, "timestamp": 1700000000000, "extra": None}
        self.sent(200, json.dumps(answer).encode())

    def sent(self, status: int, body: bytes, kind: str = "application/json", **headers: str) -> None:
        self.send_response(status)
        for name, value in {"Content-Type": kind, "Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Tests print nothing."""


@pytest.fixture
def server() -> Iterator[AceStep]:
    with AceStep() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def engine(server: AceStep, spec: EngineSpec = SPEC, **options: object) -> AceStepApi:
    return AceStepApi(Setup(spec=spec, options={"url": server.url, "patience_s": 0.3, **options}))


def made(server: AceStep, brief: Brief = BRIEF, spec: EngineSpec = SPEC, **options: object) -> tuple[Take, ...]:
    return engine(server, spec, **options).make(brief, lambda _: None)


def samples(take: Take) -> np.ndarray:
    assert isinstance(take.result, Sound)
    return take.result.clip.samples


def test_takes_come_in_order_from_their_seeds_as_48_khz_stereo(server):
    takes = made(server)
    assert [take.seed for take in takes] == [11, 12]
    for take in takes:
        expected, _ = soundfile.read(io.BytesIO(wav(take.seed, 2.0)), dtype="float32")
        assert np.array_equal(samples(take), expected.T)
        assert take.result.clip.rate_hz == RATE_HZ
        assert take.result.sections[-1].end_s == 2.0
        assert take.seconds > 0
        assert json.loads(json.dumps(take.settings)) == take.settings
    assert (takes[0].engine, takes[0].engine_version) == (SPEC.name, SPEC.version)
    assert takes[0].settings["model"] == "acestep-v15-turbo"


def test_the_same_brief_gives_the_same_takes_and_each_alone_from_its_seed(server):
    first, again = made(server), made(server)
    assert all(np.array_equal(samples(one), samples(other)) for one, other in zip(first, again, strict=True))
    alone = replace(BRIEF, takes=1, controls=replace(BRIEF.controls, seed=first[1].seed))
    assert np.array_equal(samples(made(server, alone)[0]), samples(first[1]))
    assert not np.array_equal(samples(first[0]), samples(first[1]))


def test_the_server_is_asked_in_its_own_words_and_invents_nothing(server):
    made(server, replace(BRIEF, language="de", metre="3"), model="acestep-v15-turbo")
    assert server.asked[0] == {
        "prompt": "warm indie folk",
        "lyrics": BRIEF.lyrics,
        "vocal_language": "de",
        "task_type": "text2music",
        "audio_duration": 2.0,
        "inference_steps": 8,
        "seed": 11,
        "use_random_seed": False,
        "batch_size": 1,
        "audio_format": "wav",
        "thinking": False,
        "use_cot_caption": False,
        "use_cot_language": False,
        "model": "acestep-v15-turbo",
        "bpm": 100,
        "key_scale": "A minor",
        "time_signature": "3",
    }


def test_only_a_model_that_follows_guidance_is_told_one_and_takes_more_steps(server):
    turbo = made(server)
    base = made(server, spec=BASE)
    assert all("guidance_scale" not in fields for fields in server.asked[:2])
    assert [fields["guidance_scale"] for fields in server.asked[2:]] == [7.5, 15.0]
    assert [fields["inference_steps"] for fields in server.asked] == [8, 8, 50, 50]
    assert "guidance_scale" not in turbo[0].settings
    assert base[1].settings["guidance_scale"] == 15.0


def test_what_the_brief_leaves_open_is_taken_from_the_servers_metadata(server):
    controls = replace(BRIEF.controls, tempo_bpm=None, key=None)
    take = made(server, replace(BRIEF, controls=controls, takes=1, instrumental=True))[0]
    assert (take.result.tempo_bpm, take.result.key) == (98, "C major")
    assert server.asked[0]["lyrics"] == "[Instrumental]"
    assert not {"bpm", "key_scale"} & server.asked[0].keys()


def test_source_and_reference_are_uploaded(server):
    clip = Clip(samples=np.full((2, 3 * RATE_HZ), 0.25, np.float32))
    brief = replace(
        BRIEF, task=MusicTask.REPAINT, source="s", reference="r", window=(1.0, 2.0), takes=1, controls=Controls(seed=1)
    )
    engine(server).make(brief, lambda _: None, Sources(source=clip, reference=clip))
    assert (server.asked[0]["repainting_start"], server.asked[0]["repainting_end"]) == ("1.0", "2.0")
    assert server.asked[0]["use_random_seed"] == "false"
    assert server.asked[0]["audio_duration"] == "3.0"
    sound, rate_hz = soundfile.read(io.BytesIO(server.uploads[0]["src_audio"]))
    assert server.uploads[0].keys() == {"src_audio", "reference_audio"}
    assert (sound.shape, rate_hz) == ((3 * RATE_HZ, 2), RATE_HZ)
    assert np.all(sound == 0.25)


def test_an_extension_is_a_repaint_beyond_the_end_and_tracks_go_in_the_servers_words(server):
    clip = Clip(samples=np.zeros((2, 2 * RATE_HZ), np.float32))
    plain = replace(BRIEF, source="s", takes=1, controls=Controls(seed=1))
    extension = replace(plain, task=MusicTask.EXTEND, window=(1.0, 4.0))
    take = engine(server).make(extension, lambda _: None, Sources(source=clip))[0]
    engine(server).make(replace(plain, task=MusicTask.EXTRACT, tracks=("drums",)), lambda _: None, Sources(source=clip))
    engine(server).make(
        replace(plain, task=MusicTask.COMPLETE, tracks=("drums", "bass")), lambda _: None, Sources(source=clip)
    )
    assert samples(take).shape == (2, 4 * RATE_HZ)
    assert (server.asked[0]["task_type"], server.asked[0]["repainting_end"]) == ("repaint", "4.0")
    assert (server.asked[1]["task_type"], server.asked[1]["track_name"]) == ("extract", "drums")
    assert server.asked[2]["track_classes"] == "drums | bass"


def test_progress_starts_at_0_never_falls_ends_at_1_and_repeats_no_line_of_the_servers_log(server):
    server.questions_until_made = 6
    told: list[Progress] = []
    engine(server).make(BRIEF, told.append)
    fractions = [progress.fraction for progress in told]
    assert (fractions[0], fractions[-1]) == (0.0, 1.0)
    assert fractions == sorted(fractions)
    assert any(0 < fraction < 0.9 for fraction in fractions)
    assert all(progress.message and "log" not in progress.message for progress in told)


@pytest.mark.parametrize("at", [1, 2, 3])
def test_it_stops_at_once_when_told_so(server, at):
    server.questions_until_made = 10**6
    told: list[float] = []

    def stop(progress: Progress) -> None:
        told.append(progress.fraction)
        if len(told) == at:
            raise Cancelled

    with pytest.raises(Cancelled):
        engine(server).make(BRIEF, stop)
    assert len(told) == at
    assert not server.fetched


def test_it_stops_also_while_the_server_is_silent(server):
    silence = threading.Event()
    server.answers["/query_result"] = lambda door: silence.wait(20) and None
    told: list[float] = []

    def stop(progress: Progress) -> None:
        told.append(progress.fraction)
        if len(told) == 4:
            raise Cancelled

    begun = time.monotonic()
    try:
        with pytest.raises(Cancelled):
            engine(server).make(BRIEF, stop)
        assert time.monotonic() - begun < 10
    finally:
        silence.set()


def test_a_full_queue_is_tried_again_and_then_said(server):
    server.full_for = 1
    assert len(made(server, patience_s=60)) == 2
    server.full_for = 10**6
    with pytest.raises(ServerBusy, match="queue is full") as caught:
        made(server)
    assert caught.value.retryable


def test_a_failed_task_says_why_in_one_line_without_the_key(server, tmp_path):
    (tmp_path / "key").write_text(KEY + "\n")
    server.error = f"Traceback (most recent call last):\n  File x\nRuntimeError: CUDA out of memory for {KEY}\n"
    with pytest.raises(TaskFailed) as caught:
        made(server, key_file=tmp_path / "key")
    assert caught.value.sentence == (
        "The ACE-Step server could not make the song: RuntimeError: CUDA out of memory for … Ask for a shorter song."
    )


def test_a_key_is_sent_and_a_wrong_one_said_but_never_shown(server, tmp_path, caplog):
    server.key = KEY
    (tmp_path / "key").write_text(KEY + "\n")
    right = engine(server, key_file=tmp_path / "key")
    right.load()
    assert len(right.make(BRIEF, lambda _: None)) == 2
    assert set(server.authorized) == {f"Bearer {KEY}"}
    (tmp_path / "key").write_text("wrong-key")
    for refused in (lambda: engine(server, key_file=tmp_path / "key").load(), lambda: made(server)):
        with pytest.raises(ServerUnavailable, match="refused our key") as caught:
            refused()
        assert "wrong-key" not in caught.value.sentence
    assert KEY not in caplog.text
    assert KEY not in repr(vars(right))


def test_loading_looks_for_the_server_and_its_model(server):
    ready = engine(server, model="acestep-v15-turbo")
    ready.load()
    server.answers["/v1/models"] = lambda door: door.wrapped([{"id": "acemusic/acestep-v15-base"}])
    ready.load()
    with pytest.raises(BadServerOptions, match="acestep-v15-base"):
        engine(server, model="acestep-v15-turbo").load()
    ready.unload()
    server.answers["/health"] = lambda door: door.wrapped({"status": "starting"})
    with pytest.raises(ServerUnavailable, match="not well"):
        ready.load()
    with AceStep() as other:
        nobody = engine(other)
    with pytest.raises(ServerUnavailable, match="did not answer"):
        nobody.load()


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"url": "ftp://host/x"},
        {"url": "http://me:secret@host"},
        {"url": "http://host/?key=secret"},
        {"url": "http://host:99999"},
        {"url": "http://host", "key": "secret"},
        {"url": "http://host", "deadline_s": 0},
    ],
)
def test_wrong_options_are_refused_without_repeating_them(options):
    with pytest.raises(BadServerOptions) as caught:
        AceStepApi(Setup(spec=SPEC, options=options))
    assert "secret" not in caught.value.sentence


def test_it_refuses_what_the_spec_does_not_allow_before_asking(server):
    with pytest.raises(UnfitBrief):
        made(server, replace(BRIEF, kind=BriefKind.COVER))
    with pytest.raises(UnfitBrief):
        made(server, replace(BRIEF, controls=replace(BRIEF.controls, steps=20)))
    assert not server.asked


def test_a_server_restarted_in_the_middle_no_longer_knows_the_song(server):
    server.answers["/query_result"] = lambda door: door.wrapped(
        [{"task_id": "task-0", "result": "[]", "status": 0}, {"task_id": "task-1", "result": "[]", "status": 0}]
    )
    with pytest.raises(TaskLost, match="restarted") as caught:
        made(server)
    assert caught.value.retryable


def test_one_bad_answer_in_the_middle_is_waited_out(server):
    bad = [lambda door: door.sent(502, b"gateway"), lambda door: door.sent(200, b'{"data": [{"task')]

    def flaky(door: Door) -> None:
        server.answers.pop("/query_result") if not bad else None
        if bad:
            bad.pop()(door)
        else:
            door.wrapped([server.row(task) for task in server.tasks])

    server.answers["/query_result"] = flaky
    assert len(made(server, patience_s=20)) == 2


def test_a_server_gone_in_the_middle_is_given_up_after_the_patience(server):
    def gone(door: Door) -> None:
        door.close_connection = True

    server.answers["/query_result"] = gone
    with pytest.raises(ServerUnavailable, match="query_result did not answer") as caught:
        made(server)
    assert caught.value.retryable


def test_a_slow_server_meets_the_deadline(server):
    server.questions_until_made = 10**6
    with pytest.raises(ServerTooSlow, match=r"within 0\.6 s"):
        made(server, deadline_s=0.6)


def test_what_the_server_refuses_is_said(server):
    server.answers["/release_task"] = lambda door: door.sent(400, b'{"detail": "absolute audio file paths"}')
    with pytest.raises(ServerRefused, match="absolute audio file paths"):
        made(server)
    server.answers["/release_task"] = lambda door: door.wrapped(None, code=500, error="no model")
    with pytest.raises(ServerUnavailable, match="500"):
        made(server)


def half(door: Door) -> None:
    door.send_response(200)
    door.send_header("Content-Length", "1000")
    door.end_headers()
    door.wfile.write(b'{"data": ')
    door.close_connection = True


@pytest.mark.parametrize(
    ("place", "answer", "error"),
    [
        ("/release_task", half, ServerUnavailable),
        ("/release_task", lambda door: door.sent(200, b"<html>"), BadAnswer),
        ("/release_task", lambda door: door.sent(200, b"[" * 100_000), BadAnswer),
        ("/release_task", lambda door: door.wrapped({"task_id": ""}), BadAnswer),
        ("/release_task", lambda door: door.sent(200, b"x" * (2 << 20)), BadAnswer),
        ("/release_task", lambda door: door.sent(307, b"", Location="http://127.0.0.1:1/"), ServerUnavailable),
        ("/query_result", lambda door: door.wrapped({"no": "list"}), BadAnswer),
        ("/query_result", lambda door: door.wrapped([{"task_id": "task-0", "status": 7, "result": "[]"}]), BadAnswer),
        ("/query_result", lambda door: door.wrapped([{"task_id": "task-0", "status": 1, "result": "{"}]), BadAnswer),
        ("/v1/audio", half, ServerUnavailable),
        ("/v1/audio", lambda door: door.sent(200, b"no sound at all"), BadAnswer),
        ("/v1/audio", lambda door: door.sent(200, b"x" * (4 << 20)), BadAnswer),
        ("/v1/audio", lambda door: door.sent(200, b"x", **{"Content-Encoding": "gzip"}), BadAnswer),
        ("/v1/audio", lambda door: door.sent(404, b"{}"), BadAnswer),
        ("/v1/audio", lambda door: door.sent(302, b"", Location="http://127.0.0.1:1/"), ServerUnavailable),
    ],
)
def test_answers_that_break_the_contract_are_failures_with_a_sentence(server, place, answer, error):
    server.answers[place] = answer
    with pytest.raises(error) as caught:
        made(server, patience_s=0)
    assert isinstance(caught.value, MelodeonError)
    assert caught.value.sentence.startswith("The ACE-Step server ")


@pytest.mark.parametrize(
    "file",
    [
        "",
        "http://127.0.0.1:1/v1/audio?path=x.wav",
        "//127.0.0.1:1/v1/audio?path=x.wav",
        "file:///etc/passwd",
        "/v1/stats?path=x",
        "/v1/../admin?path=x",
        "/v1/audio?path=a&path=b",
        "/v1/audio",
        "http://[",
        "/v1/audio?path=" + quote("/etc/passwd", ""),
    ],
)
def test_a_sound_is_fetched_from_this_servers_audio_door_or_not_at_all(server, file):
    server.result = lambda task: {"file": file}
    with pytest.raises((BadAnswer, TaskFailed)):
        made(server)
    assert set(server.fetched) <= {"/etc/passwd"}


@pytest.mark.parametrize(
    ("sound", "problem"),
    [
        (lambda _: wav(1, 2.0, rate_hz=44_100), "2 channels at 44100 Hz"),
        (lambda _: wav(1, 2.0, channels=1), "1 channels"),
        (lambda _: wav(1, 0.5), "0.5 s long instead of 2.0 s"),
        (lambda _: wav(1, 60.0, form="FLAC", channels=1, rate_hz=8000), "60.0 s long"),
    ],
)
def test_a_sound_of_another_format_or_length_is_refused(server, sound, problem):
    server.sound = sound
    with pytest.raises(BadAnswer, match=problem):
        made(server)


def test_flac_and_mp3_are_read_and_a_little_too_much_is_cut_or_filled(server):
    server.sound = lambda _: wav(1, 2.2, form="FLAC")
    assert samples(made(server)[0]).shape == (2, 2 * RATE_HZ)
    server.sound = lambda _: wav(1, 1.9, form="MP3")
    sound = samples(made(server)[0])
    assert sound.shape == (2, 2 * RATE_HZ)
    assert np.any(sound[:, :RATE_HZ])
    assert not np.any(sound[:, -RATE_HZ // 100 :])
