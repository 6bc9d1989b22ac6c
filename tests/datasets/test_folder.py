"""Rows G of the fault list: real folders hold everything but images."""

import io
import os
import re
import struct
import subprocess
import sys
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFile

from sklearn_sprites.datasets import load_image_folder
from sklearn_sprites.exceptions import ImageSkippedWarning

RNG = np.random.RandomState(0)
GRAY = RNG.randint(0, 256, (6, 8)).astype(np.uint8)
COLOR = RNG.randint(0, 256, (6, 8, 3)).astype(np.uint8)


def save(values, path, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(values).save(path, **options)


def png_header(width, height):
    """A PNG file that claims a size and holds no pixels."""

    def chunk(kind, data):
        body = kind + data
        return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b""))


def broken_files(folder):
    buffer = io.BytesIO()
    Image.fromarray(RNG.randint(0, 256, (64, 64, 3)).astype(np.uint8)).save(
        buffer, "JPEG"
    )
    (folder / "cut.jpg").write_bytes(buffer.getvalue()[:1500])
    (folder / "empty.png").write_bytes(b"")
    (folder / "text.png").write_text("not an image")
    buffer = io.BytesIO()
    Image.fromarray(COLOR).save(buffer, "PNG")
    flipped = bytearray(buffer.getvalue())
    flipped[flipped.index(b"IDAT") + 10] ^= 0xFF
    (folder / "crc.png").write_bytes(bytes(flipped))
    return ["crc.png", "cut.jpg", "empty.png", "text.png"]


def test_g1_unreadable_files_are_left_out_and_each_is_named(tmp_path):
    save(COLOR, tmp_path / "good.png")
    broken = broken_files(tmp_path)
    with pytest.warns(ImageSkippedWarning, match="4 entries") as record:
        data = load_image_folder(tmp_path, size=(6, 8))
    assert np.array_equal(data.images, [COLOR])
    assert [name for name, _ in data.skipped] == broken
    assert all(
        f"{name}: {reason}" in str(record[0].message) for name, reason in data.skipped
    )
    assert all(reason for _, reason in data.skipped)


def test_g1_on_error_raise_names_the_first_file(tmp_path):
    save(COLOR, tmp_path / "good.png")
    broken_files(tmp_path)
    with pytest.raises(ValueError, match=r"crc\.png cannot be read") as caught:
        load_image_folder(tmp_path, size=8, on_error="raise")
    assert caught.value.__cause__ is not None


def test_g1_on_error_ignore_is_silent_and_still_reports(tmp_path):
    save(COLOR, tmp_path / "good.png")
    broken_files(tmp_path)
    assert len(load_image_folder(tmp_path, size=8, on_error="ignore").skipped) == 4


def test_g1_long_warnings_are_cut_and_the_report_is_not(tmp_path):
    save(COLOR, tmp_path / "good.png")
    for i in range(30):
        (tmp_path / f"{i}.png").write_bytes(b"")
    with pytest.warns(ImageSkippedWarning, match="and 10 more"):
        data = load_image_folder(tmp_path)
    assert len(data.skipped) == 30


def test_g2_huge_headers_are_refused_before_decoding(tmp_path):
    save(COLOR, tmp_path / "good.png")
    (tmp_path / "bomb.png").write_bytes(png_header(30_000, 30_000))
    (tmp_path / "large.png").write_bytes(png_header(9_000, 9_000))
    script = (
        "import resource, sys, warnings; warnings.simplefilter('ignore')\n"
        "from sklearn_sprites.datasets import load_image_folder\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "data = load_image_folder(sys.argv[1])\n"
        "grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before\n"
        "print(len(data.skipped), grown < 50_000)"
    )
    result = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path)],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[2],
    )
    assert result.stdout == "2 True\n"


def test_g2_the_limit_is_the_users(tmp_path):
    save(COLOR, tmp_path / "good.png")
    with pytest.raises(ValueError, match="8 x 6 pixels exceed max_pixels=47"):
        load_image_folder(tmp_path, max_pixels=47)
    assert len(load_image_folder(tmp_path, max_pixels=48).images) == 1


@pytest.mark.parametrize("form", ["PPM", "TGA", "PCX", "EPS", "SGI"])
def test_g2_other_formats_are_refused_whatever_their_suffix(tmp_path, form):
    save(COLOR, tmp_path / "disguised.png", format=form)
    with pytest.raises(ValueError, match="cannot identify image file"):
        load_image_folder(tmp_path)


def test_g2_an_allowed_format_with_the_wrong_suffix_is_read(tmp_path):
    save(COLOR, tmp_path / "really_png.jpg", format="PNG")
    assert np.array_equal(load_image_folder(tmp_path).images, [COLOR])


def test_g3_pillows_globals_and_warning_filters_stay(tmp_path):
    save(COLOR, tmp_path / "good.png")
    broken_files(tmp_path)
    before = (Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES)
    filters = list(warnings.filters)
    load_image_folder(tmp_path, size=8, on_error="ignore")
    assert (Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES) == before
    assert warnings.filters == filters


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_g4_gray_of_16_bits_is_exact(tmp_path, suffix):
    values = RNG.randint(0, 65536, (5, 7)).astype(np.uint16)
    save(values, tmp_path / f"deep{suffix}")
    images = load_image_folder(tmp_path).images
    assert images.dtype == np.uint16
    assert np.array_equal(images, [values])


def test_g4_big_endian_16_bits_come_in_native_order(tmp_path):
    values = np.array([[1, 256], [515, 65535]], ">u2")
    image = Image.frombytes("I;16B", (2, 2), values.tobytes())
    image.save(tmp_path / "big.tif")
    images = load_image_folder(tmp_path).images
    assert images.dtype.isnative
    assert np.array_equal(images[0], values)


@pytest.mark.parametrize("dtype", [np.float32, np.int32])
def test_g4_floats_and_long_integers_keep_their_values(tmp_path, dtype):
    values = (RNG.uniform(-5, 5, (5, 7)) * 1e5).astype(dtype)
    save(values, tmp_path / "deep.tif")
    images = load_image_folder(tmp_path).images
    assert images.dtype.kind == "f"
    assert np.array_equal(images, [values])


def test_g4_8_bits_are_spread_over_16_where_both_occur(tmp_path):
    save(np.full((2, 2), 255, np.uint8), tmp_path / "a.png")
    save(np.full((2, 2), 65535, np.uint16), tmp_path / "b.png")
    images = load_image_folder(tmp_path).images
    assert images.dtype == np.uint16
    assert np.array_equal(images, np.full((2, 2, 2), 65535))


def test_g4_integers_are_spread_over_the_unit_interval_beside_floats(tmp_path):
    save(np.full((2, 2), 51, np.uint8), tmp_path / "a.png")
    save(np.full((2, 2), 0.5, np.float32), tmp_path / "b.tif")
    images = load_image_folder(tmp_path).images
    assert images[:, 0, 0] == pytest.approx([0.2, 0.5])


def test_g4_palette_cmyk_and_bilevel(tmp_path):
    Image.new("RGB", (2, 2), (10, 20, 30)).quantize(4).save(tmp_path / "palette.png")
    Image.new("CMYK", (2, 2), (0, 255, 255, 0)).save(tmp_path / "cmyk.tif")
    Image.new("1", (2, 2), 1).save(tmp_path / "bilevel.png")
    data = load_image_folder(tmp_path)
    pixels = {
        n: list(i[0, 0]) for n, i in zip(data.filenames, data.images, strict=True)
    }
    assert pixels == {
        "bilevel.png": [255, 255, 255],
        "cmyk.tif": [255, 0, 0],
        "palette.png": [10, 20, 30],
    }


def transparent(folder):
    color, alpha = np.full((2, 2, 3), 100, np.uint8), np.full((2, 2, 1), 51, np.uint8)
    save(np.concatenate([color, alpha], axis=2), folder / "a.png")


@pytest.mark.parametrize(
    ("background", "pixel"),
    [("white", [224, 224, 224]), ((0, 100, 255), [20, 100, 224])],
)
def test_g4_alpha_is_laid_over_the_stated_color(tmp_path, background, pixel):
    transparent(tmp_path)
    images = load_image_folder(tmp_path, background=background).images
    assert images[0, 0, 0].tolist() == pixel


def test_g4_alpha_is_kept_on_request_and_full_where_there_is_none(tmp_path):
    transparent(tmp_path)
    save(np.full((2, 2), 7, np.uint8), tmp_path / "b.png")
    images = load_image_folder(tmp_path, background=None).images
    assert images[:, 0, 0].tolist() == [[100, 100, 100, 51], [7, 7, 7, 255]]


@pytest.mark.parametrize("mode", ["L", "RGB", "P"])
def test_g4_a_transparent_color_is_transparent(tmp_path, mode):
    image = Image.new(mode, (2, 2), 0)
    image.save(tmp_path / "a.png", transparency=(0, 0, 0) if mode == "RGB" else 0)
    assert (load_image_folder(tmp_path, background="white").images == 255).all()


def test_g4_what_is_transparent_leaves_no_fringe_when_resized(tmp_path):
    values = np.zeros((8, 8, 4), np.uint8)
    values[:, :4] = (200, 100, 50, 255)
    save(values, tmp_path / "a.png")
    images = load_image_folder(tmp_path, background=None, size=3).images
    shown = images[images[..., 3] > 0]
    assert np.array_equal(np.unique(shown[:, :3], axis=0), [[200, 100, 50]])
    assert 0 < images[0, 0, 1, 3] < 255


def test_g4_mode_forces_gray_or_color(tmp_path):
    save(COLOR, tmp_path / "a.png")
    gray = load_image_folder(tmp_path, mode="L").images
    assert (
        abs(gray[0] - np.asarray(Image.fromarray(COLOR).convert("L"), int)).max() <= 1
    )
    save(GRAY, tmp_path / "a.png")
    color = load_image_folder(tmp_path, mode="RGB").images
    assert np.array_equal(color[0], np.stack([GRAY] * 3, axis=-1))


UPRIGHT = {  # EXIF orientation -> how to undo it
    1: lambda x: x,
    2: lambda x: x[:, ::-1],
    3: lambda x: x[::-1, ::-1],
    4: lambda x: x[::-1],
    5: lambda x: x.T,
    6: lambda x: x.T[:, ::-1],
    7: lambda x: x[::-1, ::-1].T,
    8: lambda x: x.T[::-1],
}


@pytest.mark.parametrize("suffix", [".png", ".tif"])
@pytest.mark.parametrize("orientation", UPRIGHT)
def test_g5_images_stand_as_exif_says(tmp_path, orientation, suffix):
    exif = Image.Exif()
    exif[0x0112] = orientation
    save(GRAY, tmp_path / f"a{suffix}", exif=exif)
    upright = UPRIGHT[orientation](GRAY)
    save(upright, tmp_path / "b.png")  # of another size if orientation is overlooked
    images = load_image_folder(tmp_path).images
    assert np.array_equal(images, [upright, upright])


@pytest.mark.parametrize("suffix", [".gif", ".tif"])
def test_g6_frames(tmp_path, suffix):
    pages = [Image.fromarray(np.full((4, 4), v, np.uint8)) for v in (0, 100, 200)]
    pages[0].save(tmp_path / f"a{suffix}", save_all=True, append_images=pages[1:])
    with pytest.warns(ImageSkippedWarning, match="first of 3 frames"):
        first = load_image_folder(tmp_path, mode="L")
    assert first.images[:, 0, 0].tolist() == [0]
    every = load_image_folder(tmp_path, mode="L", frames="all")
    assert every.images[:, 0, 0].tolist() == [0, 100, 200]
    assert every.filenames == [f"a{suffix}"] * 3
    assert every.skipped == []
    with pytest.raises(ValueError, match="3 frames of 4 x 4 pixels exceed"):
        load_image_folder(tmp_path, frames="all", max_pixels=47)


def test_g7_mixed_sizes_name_the_three_commonest(tmp_path):
    for i, side in enumerate([3, 4, 4, 5, 5, 5, 6, 6, 6, 6]):
        save(np.zeros((side, 9), np.uint8), tmp_path / f"{i}.png")
    sizes = r"4 different sizes.*6 x 9 \(4\), 5 x 9 \(3\), 4 x 9 \(2\): pass size="
    with pytest.raises(ValueError, match=sizes):
        load_image_folder(tmp_path)


def test_g7_size_brings_all_to_one(tmp_path):
    save(np.full((30, 20), 77, np.uint8), tmp_path / "a.png")
    save(np.full((10, 40), 77, np.uint8), tmp_path / "b.png")
    images = load_image_folder(tmp_path, size=(12, 10)).images
    assert np.array_equal(images, np.full((2, 12, 10), 77))


def test_g7_halving_averages(tmp_path):
    save(
        np.array([[0, 0, 100, 100], [0, 0, 100, 100]] * 2, np.uint8), tmp_path / "a.png"
    )
    images = load_image_folder(tmp_path, size=(1, 1)).images
    assert images.item() == 50


def test_g7_crop_keeps_proportions(tmp_path):
    values = np.zeros((10, 30), np.uint8)
    values[:, 9:21] = 255
    save(values, tmp_path / "a.png")
    assert (load_image_folder(tmp_path, size=5, fit="crop").images == 255).all()
    assert (load_image_folder(tmp_path, size=5).images[0, :, 0] == 0).all()


def test_g8_no_readable_image(tmp_path):
    with pytest.raises(ValueError, match="No readable images in"):
        load_image_folder(tmp_path)
    (tmp_path / "notes.txt").write_text("hello")
    (tmp_path / "broken.png").write_text("hello")
    with pytest.raises(ValueError, match=r"No readable images(.|\n)*broken\.png"):
        load_image_folder(tmp_path)


def test_g8_not_a_folder(tmp_path):
    nothing, file = str(tmp_path / "nothing"), str(tmp_path / "file")
    Path(file).write_text("")
    for path in (nothing, str(Path(file, "in a file"))):
        message = re.escape(
            f"path={path!r} does not exist, but load_image_folder needs"
        )
        with pytest.raises(FileNotFoundError, match=message):
            load_image_folder(path)
    message = re.escape(f"path={file!r} is no folder, but load_image_folder needs")
    with pytest.raises(NotADirectoryError, match=message):
        load_image_folder(file)


def test_g9_order_and_names(tmp_path):
    names = ["B.PNG", "a b.Jpg", "é.png", "z/10.png", "z/9.png", "z.png"]
    for name in names:
        save(GRAY, tmp_path / name)
    for ignored in [".hidden.png", ".git/x.png", "Thumbs.db", ".DS_Store", "a.txt"]:
        (tmp_path / ignored).parent.mkdir(exist_ok=True)
        (tmp_path / ignored).write_text("ignored")
    data = load_image_folder(str(tmp_path))
    assert data.filenames == sorted(names)
    assert data.skipped == []


def test_g10_links_are_not_followed_by_default(tmp_path):
    inside, outside = tmp_path / "inside", tmp_path / "outside"
    save(GRAY, inside / "a.png")
    save(GRAY, outside / "b.png")
    (inside / "file.png").symlink_to(outside / "b.png")
    (inside / "folder").symlink_to(outside)
    (inside / "loop").symlink_to(inside)
    with pytest.warns(ImageSkippedWarning, match="symbolic link"):
        data = load_image_folder(inside)
    assert data.filenames == ["a.png"]
    assert {name for name, _ in data.skipped} == {"file.png", "folder", "loop"}
    followed = load_image_folder(inside, follow_symlinks=True)
    assert followed.filenames == ["a.png", "file.png", "folder/b.png"]


@pytest.mark.timeout(20)
@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no FIFO on this system")
def test_g10_a_fifo_does_not_hang(tmp_path):
    save(GRAY, tmp_path / "a.png")
    os.mkfifo(tmp_path / "pipe.png")
    with pytest.warns(ImageSkippedWarning, match=r"pipe\.png: not a regular file"):
        assert len(load_image_folder(tmp_path).images) == 1


def test_g11_a_file_that_vanishes_is_reported(tmp_path, monkeypatch):
    save(GRAY, tmp_path / "a.png")
    save(GRAY, tmp_path / "b.png")
    real_open = Image.open

    def vanish(file, **options):
        (tmp_path / "b.png").unlink(missing_ok=True)
        return real_open(file, **options)

    monkeypatch.setattr(Image, "open", vanish)
    with pytest.warns(ImageSkippedWarning, match=r"b\.png: .*No such file"):
        data = load_image_folder(tmp_path)
    assert data.filenames == ["a.png"]


def test_g12_sub_folders_are_labels(tmp_path):
    for name in ["dog/1.png", "cat/2.png", "cat/deep/3.png"]:
        save(GRAY, tmp_path / name)
    data = load_image_folder(tmp_path)
    assert data.filenames == ["cat/2.png", "cat/deep/3.png", "dog/1.png"]
    assert data.target_names == ["cat", "dog"]
    assert data.target.tolist() == [0, 0, 1]
    images, target = load_image_folder(tmp_path, return_X_y=True)
    assert np.array_equal(images, data.images)
    assert np.array_equal(target, data.target)


def test_g12_images_in_the_folder_itself_have_no_labels(tmp_path):
    save(GRAY, tmp_path / "cat" / "1.png")
    save(GRAY, tmp_path / "2.png")
    data = load_image_folder(tmp_path)
    assert data.target is None
    assert data.target_names is None


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"size": 0}, "size must be a positive integer"),
        ({"size": (3, 4, 5)}, "size must be a positive integer"),
        ({"size": 2.0}, r"size must be a positive integer.* got 2\.0"),
        ({"size": True}, "size must be a positive integer.* got True"),
        ({"size": "ab"}, "size must be a positive integer.* got 'ab'"),
        ({"fit": "pad"}, r"fit must be one of \('stretch', 'crop'\), got 'pad'"),
        ({"mode": "CMYK"}, "mode must be one of"),
        ({"frames": 2}, "frames must be one of"),
        ({"on_error": "skip"}, "on_error must be one of"),
        ({"background": (1, 2)}, "background must be a color name"),
        ({"background": 5}, "background must be a color name.* got 5"),
        ({"background": (1, 2, True)}, "background must be a color name"),
        ({"background": (1, 2, 256)}, "background must be a color name"),
        ({"background": "nocolor"}, "background='nocolor'.*unknown color specifier"),
        ({"max_pixels": "a"}, "max_pixels must be a positive integer, got 'a'"),
        ({"max_pixels": None}, "max_pixels must be a positive integer, got None"),
        ({"max_pixels": -5}, "max_pixels must be a positive integer, got -5"),
        ({"max_pixels": 2.5}, r"max_pixels must be a positive integer, got 2\.5"),
    ],
)
def test_parameters_are_checked(tmp_path, arguments, message):
    save(COLOR, tmp_path / "image.png")
    with pytest.raises(ValueError, match=message):
        load_image_folder(tmp_path, **arguments)


@pytest.mark.parametrize("size", [[3, 4], np.array([3, 4]), (np.int64(3), 4)])
def test_sizes_and_colors_may_be_lists_and_arrays(tmp_path, size):
    save(COLOR, tmp_path / "image.png")
    data = load_image_folder(tmp_path, size=size, background=np.array([1, 2, 3]))
    assert data.images.shape == (1, 3, 4, 3)
