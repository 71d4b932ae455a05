"""Boxes and masks in the forms that archives have."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mmil_cli.data.phrase import read_mask
from mmil_cli.data.phrases import read_phrases
from mmil_cli.errors import DataError


def write(path: Path, *lines: str) -> Path:
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def test_rsna_has_one_phrase_a_film_and_no_size(tmp_path: Path) -> None:
    path = write(
        tmp_path / "stage_2_train_labels.csv",
        "patientId,x,y,width,height,Target",
        "a,264.0,152.0,213.0,379.0,1",
        "b,,,,,0",
        "a,562.0,152.0,256.0,453.0,1",
    )
    (phrase,) = read_phrases(path)
    assert (phrase.image_id, phrase.category, phrase.text) == ("a", "Lung Opacity", "lung opacity")
    assert phrase.boxes == ((264.0, 152.0, 213.0, 379.0), (562.0, 152.0, 256.0, 453.0))
    assert (phrase.width, phrase.height) == (0, 0)


def test_vindr_boxes_are_corners_and_findings_their_words(tmp_path: Path) -> None:
    path = write(
        tmp_path / "annotations_train.csv",
        "image_id,rad_id,class_name,x_min,y_min,x_max,y_max",
        "f,R1,Nodule/Mass,10,20,30,60",
        "f,R2,Nodule/Mass,12,20,30,60",
        "g,R1,No finding,,,,",
    )
    (phrase,) = read_phrases(path)
    assert phrase.text == "nodule or mass"
    assert phrase.boxes == ((10.0, 20.0, 20.0, 40.0), (12.0, 20.0, 18.0, 40.0))


def test_nihs_list_has_nameless_columns(tmp_path: Path) -> None:
    path = write(
        tmp_path / "BBox_List_2017.csv",
        "Image Index,Finding Label,Bbox [x,y,w,h],,,",
        "00013118_008.png,Atelectasis,225.084745762712,547.019216763771,86.7796610169491,79.1864406779661,,,",
    )
    (phrase,) = read_phrases(path)
    assert (phrase.image_id, phrase.text, phrase.width) == ("00013118_008", "atelectasis", 1024)
    assert phrase.boxes[0] == pytest.approx((225.0847, 547.0192, 86.7797, 79.1864), abs=1e-3)


@pytest.mark.parametrize("words", ["Left basal opacity.", None])
def test_coco_has_words_or_is_called_by_its_category(words: str | None, tmp_path: Path) -> None:
    annotation = {"image_id": 7, "category_id": 2, "bbox": [1, 2, 3, 4], "id": 1}
    content = {
        "images": [{"id": 7, "file_name": "files/p1/abc.jpg", "width": 50, "height": 60}],
        "categories": [{"id": 2, "name": "Pleural Effusion"}],
        "annotations": [annotation | ({"label_text": words} if words else {})],
    }
    path = tmp_path / "boxes.json"
    path.write_text(json.dumps(content))
    (phrase,) = read_phrases(path)
    assert (phrase.image_id, phrase.width, phrase.height) == ("abc", 50, 60)
    assert phrase.text == (words or "pleural effusion")
    assert phrase.boxes == ((1.0, 2.0, 3.0, 4.0),)


def test_shares_of_the_film_are_kept_until_its_size_is_known(tmp_path: Path) -> None:
    path = write(
        tmp_path / "boxes.csv", "image_id,source,cls,x0,y0,x1,y1", "a,x,Lung_Opacity,0.25,0.5,0.75,1.0"
    )
    (phrase,) = read_phrases(path)
    assert (phrase.text, phrase.width, phrase.height) == ("lung opacity", 1, 1)
    assert phrase.boxes == ((0.25, 0.5, 0.5, 0.5),)


def test_masks_are_png_or_npy(tmp_path: Path) -> None:
    mask = np.zeros((6, 8), np.uint8)
    mask[2:4, 1:5] = 255
    Image.fromarray(mask).save(tmp_path / "a.png")
    np.save(tmp_path / "b.npy", mask > 0)
    path = write(
        tmp_path / "masks.csv", "image_id,category_name,mask", "film,Edema,a.png", "film,Edema,b.npy"
    )
    (phrase,) = read_phrases(path)
    assert phrase.masks == (tmp_path / "a.png", tmp_path / "b.npy")
    for file in phrase.masks:
        np.testing.assert_array_equal(read_mask(file), mask > 0)


@pytest.mark.parametrize(
    ("name", "lines", "fault"),
    [
        ("a.csv", ("image_id,cls,x0,y0,x1,y1", "a,Mass,10,20,30,40"), "row 1: x0, y0, x1, y1 are shares"),
        ("a.csv", ("image_id,class_name,x_min,y_min,x_max,y_max", "a,Mass,9,2,5,8"), "must be above 0"),
        (
            "a.csv",
            ("image_id,class_name,x_min,y_min,x_max,y_max", "a,Mass,9,2,q,8"),
            "no box of four numbers",
        ),
        ("a.csv", ("patientId,x,y,width,height,Target", ",1,2,3,4,1"), "row 1: names no film"),
        (
            "a.csv",
            ("Image Index,Finding Label,Bbox [x,y,w,h],,,", "a.png,Mass,1100,2,3,4,,,"),
            "lies outside",
        ),
        ("a.csv", ("image_id,category_name,mask", "a,Mass,none.png"), "'none.png' is not beside the table"),
        ("a.csv", ("patientId,x,y,width,height,Target", "b,,,,,0"), "holds no phrase"),
        ("a.json", ("{}",), "is no COCO file"),
        ("a.json", ('{"images": [], "categories": [], "annotations": [{"image_id": 1}]}',), "names no image"),
        ("none.csv", (), "is not there"),
    ],
)
def test_what_cannot_be_used_is_named(name: str, lines: tuple[str, ...], fault: str, tmp_path: Path) -> None:
    path = tmp_path / name
    if lines:
        write(path, *lines)
    with pytest.raises(DataError, match=fault):
        read_phrases(path)


def test_a_mask_that_is_none_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"no picture")
    np.save(tmp_path / "b.npy", np.zeros((2, 3, 4)))
    for name in ("a.png", "b.npy"):
        with pytest.raises(DataError, match="is no mask"):
            read_mask(tmp_path / name)
