"""Layouts of corpora, recognised from empty files that lie as the corpora's do: speakers, names, cameras, held out."""

from pathlib import Path

import pytest

from geneface.corpus.layouts import Source, find_sources, heldout_names, split_part, survey
from geneface.errors import InputError


def lay(folder: Path, *names: str) -> Path:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return folder


def names(folder: Path, layout: str = "auto", **others) -> dict[str, str]:
    """Clip -> speaker, checking that the layout was recognised, and that each way of giving it finds the same."""
    found = survey(folder, **others)
    assert set(found.layouts.values()) == {layout}
    assert found.sources == survey(folder, layout, **others).sources  # type: ignore[arg-type]
    return {source.name: source.speaker for source in found.sources}


TALK, OTHER = "0Fi83BHQsMA", "-_akmhD4LnI"


def test_lrs3(tmp_path):
    folder = lay(
        tmp_path / "lrs3",
        *(f"{group}/{TALK}/{clip:05d}.mp4" for group in ("pretrain", "trainval") for clip in (1, 2)),
        f"test/{OTHER}/00001.mp4",
        "pretrain/notes/readme.txt",
    )
    assert names(folder, "lrs3") == {
        **{f"{TALK}__{group}-0000{clip}": TALK for group in ("pretrain", "trainval") for clip in (1, 2)},
        f"{OTHER}__test-00001": OTHER,
    }
    # A part of the corpus gives the same names.
    assert list(names(folder / "trainval", "lrs3")) == [f"{TALK}__trainval-00001", f"{TALK}__trainval-00002"]
    assert names(folder / "test" / OTHER, "lrs3") == {f"{OTHER}__test-00001": OTHER}


def test_lrs3_is_held_out_by_speaker_because_its_sets_overlap():
    def talk(speaker: int, group: str) -> list[Source]:
        return [
            Source(Path(f"{clip:05d}.mp4"), f"talk{speaker:02d}", f"{group}-{clip}", is_whole=True)
            for clip in range(12)
        ]

    sources = [source for speaker in range(20) for source in talk(speaker, "trainval")]
    assert {name.partition("__")[0] for name in heldout_names(sources)} == {"talk09", "talk19"}
    assert len(heldout_names(sources)) == 24
    # Where its own test set is there, that is enough.
    test = [Source(Path("00001.mp4"), "tested", "test-1", is_test=True, is_whole=True)]
    assert heldout_names(sources + test) == {"tested__test-1"}


def test_speakers_of_few_clips_are_held_out_as_a_whole():
    many = [Source(Path(f"{i:02d}.mp4"), "many") for i in range(10)]
    few = [Source(Path(f"{i}.mp4"), f"few{speaker:02d}") for speaker in range(11) for i in range(3)]
    assert heldout_names(few) == {"few09__0", "few09__1", "few09__2"}
    assert heldout_names(many + few) == {"many__09", "few09__0", "few09__1", "few09__2"}
    # Nine of them are too few to spare one.
    assert heldout_names(many + few[:27]) == {"many__09"}


def test_mead_front_only_unless_others_are_asked_for(tmp_path):
    clips = [f"M003/video/{camera}/angry/level_{level}/001.mp4" for camera in ("front", "left_30") for level in (1, 2)]
    folder = lay(
        tmp_path / "mead", *clips, "W009/video/front/neutral/level_1/040.mp4", "M003/audio/angry/level_1/001.m4a"
    )
    front = {
        "M003__angry-level_1-001": "M003",
        "M003__angry-level_2-001": "M003",
        "W009__neutral-level_1-040": "W009",
    }
    assert names(folder, "mead") == front
    assert names(folder / "M003", "mead").keys() == {name for name in front if name.startswith("M003")}
    sides = {"M003__left_30-angry-level_1-001": "M003", "M003__left_30-angry-level_2-001": "M003"}
    assert names(folder, "mead", cameras=("left_30",)) == sides
    assert names(folder, "mead", cameras=("all",)) == {**front, **sides}
    sound = {source.name: source.sound for source in find_sources(folder)}
    assert sound["M003__angry-level_1-001"] == folder / "M003/audio/angry/level_1/001.m4a"
    assert sound["M003__angry-level_2-001"] is None
    assert "2 videos of other cameras" in " ".join(survey(folder).sentences())
    with pytest.raises(InputError, match=r"camera top.*front, left_30"):
        find_sources(folder, cameras=("top",))


def test_all_cameras_of_a_recording_are_held_out_together(tmp_path):
    takes = [f"happy/level_1/{take:03d}.mp4" for take in range(1, 13)]
    folder = lay(tmp_path / "mead", *(f"M003/video/{camera}/{take}" for camera in ("front", "down") for take in takes))
    held = heldout_names(find_sources(folder, cameras=("all",)))
    assert held == {"M003__happy-level_1-010", "M003__down-happy-level_1-010"}


def test_crema_d(tmp_path):
    folder = lay(tmp_path / "CREMA-D", "VideoFlash/1001_DFA_ANG_XX.flv", "VideoFlash/1002_IEO_HAP_LO.flv")
    assert names(folder, "crema-d") == {"1001__1001_DFA_ANG_XX": "1001", "1002__1002_IEO_HAP_LO": "1002"}
    lay(folder, "VideoMP4/1001_DFA_ANG_XX.mp4")
    with pytest.raises(InputError, match=r"two clips are named 1001__1001_DFA_ANG_XX: .*flv and .*mp4"):
        find_sources(folder)


def test_hdtf(tmp_path):
    files = ["RD_Radio10_000.mp4", "RD_Radio11_000.mp4", "WDA_AdamSchiff_000.mp4", "WRA_MarcoRubio0_000.mp4"]
    folder = lay(tmp_path / "HDTF", *files, "WRA_MarcoRubio1_000.mp4", "WRA_MarcoRubio1_001.mp4")
    found = names(folder, "hdtf")
    # The number of an address is the video's; one of a radio is another guest's.
    assert sorted(set(found.values())) == ["RD_Radio10", "RD_Radio11", "WDA_AdamSchiff", "WRA_MarcoRubio"]
    assert found["WRA_MarcoRubio__WRA_MarcoRubio1_001"] == "WRA_MarcoRubio"
    mine = lay(tmp_path / "mine", "Jane_Doe_1.mp4", "Jane_Doe_2.mp4", "portrait.mp4")
    assert set(survey(mine).layouts.values()) == {"generic"}
    found = survey(mine, "hdtf")
    assert [source.speaker for source in found.sources] == ["Jane_Doe", "Jane_Doe"]
    assert found.passed_over == [mine / "portrait.mp4"]
    assert "portrait.mp4" in " ".join(found.sentences())


def test_grid(tmp_path):
    folder = lay(tmp_path / "grid", "s1/bbaf2n.mpg", "s2/video/mpg_6000/bbaf2n.mpg", "multi/s26_bgbsza.mp4")
    assert names(folder, "grid") == {"s1__bbaf2n": "s1", "s2__bbaf2n": "s2", "s26__s26_bgbsza": "s26"}
    assert names(folder / "s1", "grid") == {"s1__bbaf2n": "s1"}
    # A folder further up that is called like a speaker is none.
    assert names(lay(tmp_path / "s3" / "grid_s1", "bbaf2n.mpg"), "generic") == {"grid_s1__bbaf2n": "grid_s1"}


def test_generic_keeps_equal_stems_apart(tmp_path):
    folder = lay(
        tmp_path / "people", "ann/monday/1.mp4", "ann/tuesday/1.mp4", "ann/1.mov", "bob/a/b/1.mp4", "s02_x.mp4"
    )
    assert names(folder, "generic") == {
        "ann__1": "ann",
        "ann__monday-1": "ann",
        "ann__tuesday-1": "ann",
        "bob__a-b-1": "bob",
        "s02__s02_x": "s02",
    }
    lay(folder, "ann/monday-1.mp4")
    with pytest.raises(InputError, match="two clips are named ann__monday-1"):
        find_sources(folder)


def test_a_part_can_be_told_from_every_name(tmp_path):
    folder = lay(tmp_path / "people", "ann/take~2.mp4", f"ann/{'long ' * 40}.mp4")
    sources = find_sources(folder)
    for source in sources:
        assert split_part(source.name) == (source.name, 1)
        assert len(f"{source.name}.safetensors".encode()) < 255
    assert split_part(f"{sources[0].name}~12") == (sources[0].name, 12)


def test_a_few_strays_do_not_hide_a_layout(tmp_path):
    folder = lay(
        tmp_path / "mead", *(f"M003/video/front/sad/level_1/{take:03d}.mp4" for take in range(1, 21)), "demo.mp4"
    )
    found = survey(folder)
    assert set(found.layouts.values()) == {"mead"} and found.passed_over == [folder / "demo.mp4"]
    assert len(found.sources) == 20


def test_a_wrong_layout_is_an_input_error(tmp_path):
    folder = lay(tmp_path / "people", "ann/1.mp4")
    with pytest.raises(InputError, match="no layout named vox"):
        find_sources(folder, "vox")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="has a name of the layout lrs3"):
        find_sources(folder, "lrs3")
