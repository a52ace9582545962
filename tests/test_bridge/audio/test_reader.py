"""Audio files are read exactly, refused clearly, and written whole or not at all."""

from __future__ import annotations

import os
import socket
import struct
import subprocess
import sys
import textwrap
import time
from contextlib import chdir
from pathlib import Path

import numpy as np
import pytest
import soundfile
from helpers.audio import chunk, noise, on_grid, pcm_format, riff, sine, write_bytes
from helpers.paths import ROOT, SHARED
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bridge.audio.formats import OUTPUT_SUBTYPES
from bridge.audio.hashing import hash_samples
from bridge.audio.reader import AudioReader, read_audio, read_info, read_metadata
from bridge.audio.system_decoder import SystemDecoder
from bridge.audio.writer import AudioWriter
from bridge.errors import AudioFileError, OutputError, RenderError

SUFFIXES = {"WAV": ".wav", "RF64": ".rf64", "W64": ".w64", "AIFF": ".aiff", "CAF": ".caf", "FLAC": ".flac"}
EVERY_OUTPUT = [(name, subtype) for name, subtypes in OUTPUT_SUBTYPES.items() for subtype in subtypes]
BITS = {"PCM_16": 16, "PCM_24": 24, "PCM_32": 24, "FLOAT": 24}


def write(path: Path, samples: np.ndarray, block: int = 10_000, **options: object) -> Path:
    options = {"sample_rate": 48000, "n_channels": len(samples)} | options
    with AudioWriter(path, **options) as writer:  # type: ignore[arg-type]
        for start in range(0, samples.shape[1], block):
            writer.write(samples[:, start : start + block])
    return path


# --- exactness -----------------------------------------------------------------------------------


@pytest.mark.parametrize(("file_format", "subtype"), EVERY_OUTPUT)
def test_samples_on_the_grid_come_back_bit_for_bit(tmp_path: Path, file_format: str, subtype: str) -> None:
    """What needs no rounding survives writing and reading exactly, dither on, in every format."""
    samples = on_grid(noise(30_000, 2), BITS[subtype])
    path = write(tmp_path / f"a{SUFFIXES[file_format]}", samples, subtype=subtype, dither_seed=5)
    found, sample_rate = read_audio(path)
    assert sample_rate == 48000
    np.testing.assert_array_equal(found, samples)
    info = read_info(path)
    assert (info.format, info.subtype, info.n_samples, info.n_channels) == (file_format, subtype, 30_000, 2)


def test_32_bit_integers_hold_floats_to_their_last_step(tmp_path: Path) -> None:
    """Floats above 2^-8 come back exactly; fainter ones are rounded by half a step, at -193 dBFS."""
    samples = noise(20_000, 2, level=0.1)
    found, _ = read_audio(write(tmp_path / "a.wav", samples, subtype="PCM_32"))
    loud = np.abs(samples) >= 2.0**-8
    assert 0.5 < loud.mean() < 1
    np.testing.assert_array_equal(found[loud], samples[loud])
    assert np.abs(found.astype(np.float64) - samples).max() <= 2.0**-32


@pytest.mark.parametrize("subtype", ["PCM_16", "PCM_24", "FLOAT"])
def test_the_integers_of_a_file_made_elsewhere_survive(tmp_path: Path, subtype: str) -> None:
    """Reading a foreign file and writing it in its own sample type gives the same integers or floats."""
    source = tmp_path / "in.wav"
    soundfile.write(source, noise(5_000, 2, level=0.6).T, 44100, subtype=subtype)
    samples, sample_rate = read_audio(source)
    copy = write(tmp_path / "out.wav", samples, subtype=subtype, sample_rate=sample_rate)
    kind = "float32" if subtype == "FLOAT" else "int32"
    np.testing.assert_array_equal(soundfile.read(copy, dtype=kind)[0], soundfile.read(source, dtype=kind)[0])
    assert hash_samples(copy) == hash_samples(source)


@pytest.mark.parametrize(("file_format", "subtype"), EVERY_OUTPUT)
def test_the_same_samples_give_the_same_bytes(tmp_path: Path, file_format: str, subtype: str) -> None:
    """Two files of the same samples are equal byte for byte, whatever the blocks and the time of day."""
    samples = noise(20_000, 2)
    suffix = SUFFIXES[file_format]
    first = write(tmp_path / f"1{suffix}", samples, subtype=subtype, block=20_000)
    if subtype == "FLOAT" and file_format == "AIFF":
        time.sleep(1.1)  # the PEAK chunk of AIFF-C counts seconds
    second = write(tmp_path / f"2{suffix}", samples, subtype=subtype, block=777)
    assert first.read_bytes() == second.read_bytes()


def test_the_hash_hears_samples_only(tmp_path: Path) -> None:
    """The sample hash ignores the container, and notices one changed bit or another sample rate."""
    samples = on_grid(noise(4_000, 2), 16)
    wav = hash_samples(write(tmp_path / "a.wav", samples, subtype="PCM_16"))
    assert wav == hash_samples(write(tmp_path / "a.flac", samples, subtype="PCM_24"))
    assert wav != hash_samples(write(tmp_path / "b.wav", samples, subtype="PCM_16", sample_rate=44100))
    samples[1, 3_999] += 2.0**-15
    assert wav != hash_samples(write(tmp_path / "c.wav", samples, subtype="PCM_16"))


def test_wav_files_are_what_libsndfile_and_the_standard_library_expect(tmp_path: Path) -> None:
    """Independent readers agree with the header, sizes and samples of our own WAV writer."""
    import wave

    samples = on_grid(noise(3_001, 1), 24)  # an odd number of bytes needs a pad byte
    path = write(tmp_path / "a.wav", samples, subtype="PCM_24")
    with wave.open(str(path)) as file:
        assert (file.getnframes(), file.getsampwidth(), file.getframerate()) == (3_001, 3, 48000)
        raw = np.frombuffer(file.readframes(3_001), np.uint8).reshape(-1, 3).astype(np.int32)
    integers = (raw[:, 0] | raw[:, 1] << 8 | raw[:, 2] << 16) << 8 >> 8
    np.testing.assert_array_equal(integers, samples[0] * 2**23)
    assert path.stat().st_size == 8 + struct.unpack("<I", path.read_bytes()[4:8])[0]


def test_files_of_many_channels_say_so_the_extensible_way(tmp_path: Path) -> None:
    """More than two channels are written as WAVE_FORMAT_EXTENSIBLE and read back in order."""
    samples = on_grid(noise(500, 6), 24)
    path = write(tmp_path / "a.wav", samples, subtype="PCM_24")
    assert soundfile.info(path).format == "WAVEX"
    np.testing.assert_array_equal(read_audio(path)[0], samples)


def test_a_file_beyond_the_limit_becomes_rf64(tmp_path: Path) -> None:
    """A WAV that outgrows a plain RIFF is RF64 in the end, with every sample in place."""
    from bridge.audio.riff import WavStream

    samples = on_grid(noise(10_000, 2), 16)
    path = tmp_path / "long.wav"
    with path.open("wb") as file:
        stream = WavStream(file, sample_rate=48000, n_channels=2, bits=16, is_float=False, riff_limit=20_000)
        stream.write((samples.T * 2**15).astype("<i2").tobytes())
        stream.finish()
    assert path.read_bytes()[:4] == b"RF64"
    assert read_info(path).format == "RF64"
    np.testing.assert_array_equal(read_audio(path)[0], samples)


def test_reading_in_blocks_equals_reading_whole(tmp_path: Path) -> None:
    """Blocks, seeks and a read beyond the end give the samples of the whole file."""
    samples = noise(150_000, 2)
    path = write(tmp_path / "a.wav", samples, subtype="FLOAT")
    with AudioReader(path) as reader:
        np.testing.assert_array_equal(np.concatenate(list(reader), axis=1), samples)
        reader.seek(149_990)
        assert reader.read(100).shape == (2, 10)
        assert reader.read(100).shape == (2, 0)
        reader.seek(5)
        np.testing.assert_array_equal(reader.read(7), samples[:, 5:12])


@pytest.mark.parametrize(
    ("suffix", "subtype"), [(".mp3", "MPEG_LAYER_III"), (".ogg", "VORBIS"), (".au", "PCM_16")]
)
def test_formats_that_are_only_read(tmp_path: Path, suffix: str, subtype: str) -> None:
    """MP3, OGG and AU come in with their length and, where they are lossy, nearly their samples."""
    tone = sine(440, 1.0, level_dbfs=-12, n_channels=2)
    path = tmp_path / f"a{suffix}"
    soundfile.write(path, tone.T, 48000, subtype=subtype)
    samples, sample_rate = read_audio(path)
    assert sample_rate == 48000
    assert samples.shape == tone.shape
    assert np.abs(samples - tone)[:, 4_800:-4_800].max() < 0.02


def test_the_system_s_decoder_reads_as_libsndfile_does(tmp_path: Path) -> None:
    """What reads M4A where a system can gives the same samples of a file that every system reads."""
    samples = noise(10_000, 2)
    path = write(tmp_path / "a.wav", samples, subtype="FLOAT")
    audio = SystemDecoder(path)
    assert (audio.samplerate, audio.channels, audio.frames) == (48000, 2, 10_000)
    np.testing.assert_array_equal(audio.read(4_000).T, samples[:, :4_000])
    audio.seek(9_000)
    np.testing.assert_array_equal(audio.read(4_000).T, samples[:, 9_000:])
    audio.close()


# --- refusals ------------------------------------------------------------------------------------


def refused(path: Path) -> str:
    with pytest.raises(AudioFileError) as caught:
        read_info(path)
    message = str(caught.value)
    assert "\n" not in message
    assert str(path) in message
    return message


def test_a_missing_file_suggests_its_neighbour(tmp_path: Path) -> None:
    """A misspelt stem gets the nearest name in its folder."""
    write(tmp_path / "vocals.wav", sine(440, 0.1))
    assert "did you mean 'vocals.wav'?" in refused(tmp_path / "vocal.wav")


def test_what_is_not_audio_is_refused_in_one_line(tmp_path: Path) -> None:
    """Folders, text and empty files are named as what they are."""
    assert "is a folder" in refused(tmp_path)
    assert "is not audio" in refused(write_bytes(tmp_path / "a.wav", b"hello, this is text\n" * 40))
    assert "empty" in refused(write_bytes(tmp_path / "b.wav", b""))


def test_aac_that_cannot_be_decoded_says_where_it_can(tmp_path: Path) -> None:
    """A damaged M4A, or any on a system without a decoder, is one line that names the way out."""
    assert "ffmpeg" in refused(write_bytes(tmp_path / "a.m4a", b"\0\0\0\x20ftypM4A " + bytes(100)))


def test_headers_that_make_no_sense_are_refused(tmp_path: Path) -> None:
    """No samples, a sample rate of 0 and more than 32 channels are named."""
    silence = chunk(b"data", bytes(4_000))
    assert "no samples" in refused(write_bytes(tmp_path / "a.wav", riff(pcm_format(), chunk(b"data", b""))))
    assert "sample rate is 0 Hz" in refused(
        write_bytes(tmp_path / "b.wav", riff(pcm_format(sample_rate=0), silence))
    )
    assert "33 channels" in refused(write_bytes(tmp_path / "c.wav", riff(pcm_format(n_channels=33), silence)))


@pytest.mark.parametrize(("file_format", "subtype"), [("WAV", "PCM_24"), ("RF64", "PCM_24"),
                                                      ("AIFF", "PCM_16"), ("W64", "PCM_16"),
                                                      ("FLAC", "PCM_16"), ("CAF", "PCM_16")])  # fmt: skip
def test_a_truncated_file_is_called_truncated(tmp_path: Path, file_format: str, subtype: str) -> None:
    """A file cut off in its audio is refused before anything is rendered from it."""
    whole = write(tmp_path / f"a{SUFFIXES[file_format]}", noise(50_000), subtype=subtype)
    cut = write_bytes(tmp_path / f"b{SUFFIXES[file_format]}", whole.read_bytes()[:-20_000])
    assert "truncated" in refused(cut)


def test_a_stream_of_unknown_length_is_read_to_its_end(tmp_path: Path) -> None:
    """A WAV from a pipe, whose header could not know the size, is no truncated file."""
    data = chunk(b"data", bytes(9_600), declared=0xFFFFFFFF)
    path = write_bytes(tmp_path / "a.wav", riff(pcm_format(), data, declared=0xFFFFFFFF))
    assert read_info(path).n_samples == 4_800


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_sample_that_is_no_number_is_found(tmp_path: Path, value: float) -> None:
    """NaN and infinity are refused with file, channel and sample position."""
    samples = noise(100_000, 2)
    samples[1, 70_123] = value
    path = tmp_path / "a.wav"
    soundfile.write(path, samples.T, 48000, subtype="FLOAT")
    with pytest.raises(AudioFileError, match=r"a\.wav: -?(nan|inf) at sample 70123 of channel 2"):
        for _ in AudioReader(path):
            pass


@pytest.mark.skipif(sys.platform == "win32", reason="no such files there")
def test_only_regular_files_are_opened(tmp_path: Path) -> None:
    """Pipes, sockets, devices and circles of links are one line each, and nobody waits for them."""
    pipe, device, circle = tmp_path / "pipe.wav", tmp_path / "device.wav", tmp_path / "circle.wav"
    os.mkfifo(pipe)
    device.symlink_to("/dev/zero")
    circle.symlink_to(circle)
    with socket.socket(socket.AF_UNIX) as server, chdir(tmp_path):
        server.bind("socket.wav")
    for path in (pipe, device, circle, tmp_path / "socket.wav", tmp_path):
        for read in (read_info, read_metadata, hash_samples):
            with pytest.raises(AudioFileError) as caught:
                read(path)
            assert "\n" not in str(caught.value)


def test_a_name_with_a_nul_is_refused() -> None:
    """No system has such a file."""
    for read in (read_info, read_metadata, hash_samples):
        with pytest.raises(AudioFileError, match=r"a\\0b\.wav: cannot be read"):
            read("a\0b.wav")


@pytest.mark.skipif(sys.platform != "linux", reason="names are bytes only there")
def test_any_name_is_a_name(tmp_path: Path) -> None:
    """A name that is no UTF-8 and one that means standard input to libsndfile are files like others."""
    for name in (b"\xff\xfe.wav", b"-", b"-o.wav"):
        samples = on_grid(noise(100), 16)
        with chdir(tmp_path):
            path = Path(os.fsdecode(name))
            soundfile.write(os.fsencode(path.absolute()), samples.T, 48000, format="WAV", subtype="PCM_16")
            np.testing.assert_array_equal(read_audio(path)[0], samples)


def test_a_promised_length_takes_no_memory(tmp_path: Path) -> None:
    """An Ogg whose last page promises hours is refused before room is made for them."""
    path = tmp_path / "a.ogg"
    soundfile.write(path, noise(4_000).T, 48000, format="OGG", subtype="VORBIS")
    data = bytearray(path.read_bytes())
    page = data.rindex(b"OggS")
    data[page + 6 : page + 14] = struct.pack("<Q", 1 << 40)
    with pytest.raises(AudioFileError):
        read_audio(write_bytes(tmp_path / "b.ogg", bytes(data)))


def test_a_damaged_mp3_of_another_program() -> None:
    """Its frames contradict each other; it is refused in one line."""
    path = SHARED / "cases" / "damaged" / "audio-ValueError.mp3"
    if not path.exists():
        pytest.skip("the shared cases are not here")
    with pytest.raises(AudioFileError):
        hash_samples(path)


@pytest.fixture(scope="module")
def specimens(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """One short file of every format written."""
    folder = tmp_path_factory.mktemp("specimens")
    return {
        suffix: write(folder / f"a{suffix}", noise(2_000, 2), subtype="PCM_16").read_bytes()
        for suffix in SUFFIXES.values()
    }


@settings(deadline=None, max_examples=250, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_damage_anywhere_is_an_audio_file_error(
    tmp_path: Path, specimens: dict[str, bytes], data: st.DataObject
) -> None:
    """Overwritten and missing bytes, above all in headers, raise only audio file errors of one line."""
    suffix = data.draw(st.sampled_from(sorted(specimens)))
    whole = bytearray(specimens[suffix])
    for _ in range(data.draw(st.integers(1, 6))):
        whole[data.draw(st.integers(0, 200))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.one_of(st.just(len(whole)), st.integers(1, len(whole))))
    path = write_bytes(tmp_path / f"damaged{suffix}", bytes(whole[:cut]))
    message = ""
    try:
        read_metadata(path)
        with AudioReader(path) as reader:
            for _ in range(4):
                reader.read(1_000)
    except AudioFileError as error:
        message = str(error)
    assert "\n" not in message


# --- writing whole or not at all -----------------------------------------------------------------


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_an_existing_file_is_replaced_only_when_allowed(tmp_path: Path) -> None:
    """The old file stays untouched without overwrite, and is replaced with it."""
    path = write(tmp_path / "a.wav", sine(100, 0.1))
    before = path.read_bytes()
    with pytest.raises(OutputError, match="exists already"):
        write(path, sine(200, 0.1))
    assert path.read_bytes() == before
    write(path, sine(200, 0.1), overwrite=True)
    assert path.read_bytes() != before
    assert names(tmp_path) == {"a.wav"}


@pytest.mark.parametrize("suffix", [".wav", ".flac"])
@pytest.mark.parametrize("fault", [KeyboardInterrupt, RuntimeError])
def test_an_interrupted_render_leaves_nothing(
    tmp_path: Path, suffix: str, fault: type[BaseException]
) -> None:
    """Ctrl-C or an error inside the block leaves neither the file nor the hidden folder it was written in."""

    def render() -> None:
        with AudioWriter(tmp_path / f"a{suffix}", sample_rate=48000, n_channels=1) as writer:
            writer.write(sine(100, 1.0))
            assert [name.startswith(".reverie-") for name in names(tmp_path)] == [True]
            raise fault

    with pytest.raises(fault):
        render()
    assert names(tmp_path) == set()


def test_a_block_with_nan_is_not_written(tmp_path: Path) -> None:
    """NaN from a processor fails the stem with its position, and nothing stands under the final name."""
    samples = noise(9_000, 2)
    samples[0, 8_765] = np.nan
    with pytest.raises(RenderError, match="nan at sample 8765 of channel 1"):
        write(tmp_path / "a.wav", samples, block=1_000)
    assert names(tmp_path) == set()


@pytest.mark.parametrize(("options", "match"), [
    ({"subtype": "PCM_20"}, "did you mean"),
    ({"subtype": "FLOAT", "format": "FLAC"}, "FLAC cannot hold"),
    ({"format": "OGG"}, "cannot write 'OGG'"),
    ({"sample_rate": 0}, "sample rate of 0"),
])  # fmt: skip
def test_a_file_that_cannot_be_made_is_refused_at_once(
    tmp_path: Path, options: dict[str, object], match: str
) -> None:
    """A wrong sample type, format or rate is named with what is accepted, and no file is created."""
    with pytest.raises(OutputError, match=match):
        write(tmp_path / "a.wav", sine(100, 0.1), **options)
    assert names(tmp_path) == set()


def test_an_unknown_suffix_names_those_known(tmp_path: Path) -> None:
    """A suffix without a format is answered with the suffixes there are."""
    with pytest.raises(OutputError, match=r"'\.wav'"):
        write(tmp_path / "a.wavv", sine(100, 0.1))


def test_a_disk_too_small_is_refused_before_the_first_block(tmp_path: Path) -> None:
    """With the length known, the bytes needed and the bytes free are stated at once."""
    with pytest.raises(OutputError, match=r"disk is full.*MB are needed.*MB are free"):
        AudioWriter(tmp_path / "a.wav", sample_rate=48000, n_channels=2, n_samples=10**15)
    assert names(tmp_path) == set()


@pytest.mark.parametrize("suffix", [".wav", ".flac", ".aiff"])
def test_a_disk_that_fills_up_leaves_no_half_file(tmp_path: Path, suffix: str) -> None:
    """When the file system stops taking bytes, one line says so and nothing is left behind."""
    program = textwrap.dedent(
        f"""
        import resource, sys
        import numpy as np
        from bridge.audio.writer import AudioWriter
        from bridge.errors import OutputError
        resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000))
        noise = np.random.default_rng(0).uniform(-1, 1, (1, 500_000)).astype("float32")
        try:
            with AudioWriter({str(tmp_path / ("a" + suffix))!r}, sample_rate=48000, n_channels=1) as writer:
                for start in range(0, 500_000, 10_000):
                    writer.write(noise[:, start : start + 10_000])
        except OutputError as error:
            print(error)
            sys.exit(error.exit_code)
        """
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 2, done.stderr
    assert done.stderr == ""
    assert len(done.stdout.splitlines()) == 1
    assert names(tmp_path) == set()


def test_a_folder_that_cannot_be_written_to_is_named(tmp_path: Path) -> None:
    """A read-only folder is an output error naming the folder."""
    folder = tmp_path / "locked"
    folder.mkdir()
    folder.chmod(0o500)
    try:
        (folder / "probe").touch()
    except PermissionError:
        with pytest.raises(OutputError, match="locked: this folder cannot be written to"):
            write(folder / "a.wav", sine(100, 0.1))
    else:
        pytest.skip("this user may write to any folder")
    finally:
        folder.chmod(0o700)


def test_memory_does_not_grow_with_the_length(tmp_path: Path) -> None:
    """Memory while writing and reading does not grow with the length of the file."""
    program = textwrap.dedent(
        """
        import resource, sys
        import numpy as np
        from bridge.audio.reader import AudioReader
        from bridge.audio.writer import AudioWriter
        block = np.random.default_rng(0).uniform(-1, 1, (2, 65536)).astype("float32")
        with AudioWriter(sys.argv[1], sample_rate=48000, n_channels=2) as writer:
            for _ in range(int(sys.argv[2])):
                writer.write(block)
        for _ in AudioReader(sys.argv[1]):
            pass
        print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
        """
    )

    def peak_kilobytes(n_blocks: int) -> int:
        target = tmp_path / f"{n_blocks}.wav"
        done = subprocess.run(
            [sys.executable, "-c", program, str(target), str(n_blocks)],
            capture_output=True, text=True, check=True, cwd=ROOT,
        )  # fmt: skip
        target.unlink()
        return int(done.stdout)

    # 20 and 200 blocks are 27 s and 4.5 min; holding the longer file would add 100 MB.
    assert peak_kilobytes(200) < 1.1 * peak_kilobytes(20)
