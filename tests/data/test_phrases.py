"""Tables of phrases and boxes."""

from pathlib import Path

import pytest

from mmil_cli.data.phrases import Phrase, read_phrases
from mmil_cli.errors import DataError, UsageError

HEADER = "dicom_id,category_name,label_text,path,x,y,w,h,image_width,image_height,split"


def table(folder: Path, *lines: str, header: str = HEADER) -> Path:
    path = folder / "phrases.csv"
    path.write_text("\n".join((header, *lines)) + "\n", encoding="utf-8")
    return path


def test_rows_of_one_film_and_text_are_one_phrase(tmp_path: Path) -> None:
    path = table(
        tmp_path,
        "a,Pneumonia,patchy opacity,files/a.jpg,10,20,30,40,200,300,test",
        "b,Edema,hilar haze,files/b.jpg,1.5,2,3,4,100,120,train",
        "a,Pneumonia,patchy opacity,files/a.jpg,110,20,30,40,200,300,test",
        "a,Pneumonia,another opacity,files/a.jpg,10,20,30,40,200,300,test",
    )
    first, second, third = read_phrases(path)
    boxes = ((10.0, 20.0, 30.0, 40.0), (110.0, 20.0, 30.0, 40.0))
    assert first == Phrase("a", "Pneumonia", "patchy opacity", boxes, 200, 300, "test", 1)
    assert (second.image_id, second.boxes, second.row) == ("b", ((1.5, 2.0, 3.0, 4.0),), 2)
    assert third.text == "another opacity"


def test_the_id_comes_from_the_path_where_there_is_no_other(tmp_path: Path) -> None:
    columns = HEADER.removeprefix("dicom_id,")
    path = table(tmp_path, "Edema,haze,files/p10/p1/s2/abc-1.jpg,1,2,3,4,100,120,val", header=columns)
    assert read_phrases(path)[0].image_id == "abc-1"
    path = table(tmp_path, ",Edema,haze,files/p10/p1/s2/abc-2.jpg,1,2,3,4,100,120,val")
    assert read_phrases(path)[0].image_id == "abc-2"


def test_the_split_may_be_missing(tmp_path: Path) -> None:
    path = table(tmp_path, "a,Edema,haze,a.jpg,1,2,3,4,100,120", header=HEADER.removesuffix(",split"))
    assert read_phrases(path)[0].split == ""


def test_missing_columns_are_named_with_the_nearest(tmp_path: Path) -> None:
    path = table(
        tmp_path,
        "a,Edema,haze,1,2,3,4,100,120",
        header="image,category,label_text,x,y,w,h,image_width,image_hight",
    )
    with pytest.raises(UsageError) as caught:
        read_phrases(path)
    assert caught.value.exit_code == 2
    for words in (
        "category_name (did you mean 'category'?)",
        "image_height (did you mean 'image_hight'?)",
        "dicom_id or path",
    ):
        assert words in str(caught.value)


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ("a,Edema,...,a.jpg,1,2,3,4,100,120,test", "has no words"),
        ("a,Edema,,a.jpg,1,2,3,4,100,120,test", "has no words"),
        ("a,,haze,a.jpg,1,2,3,4,100,120,test", "category_name is blank"),
        (",Edema,haze,,1,2,3,4,100,120,test", "names no film"),
        ("a,Edema,haze,a.jpg,one,2,3,nan,100,120,test", "no number in x ('one'), h ('nan')"),
        ("a,Edema,haze,a.jpg,1,2,0,4,100,120,test", "must be above 0"),
        (
            "a,Edema,haze,a.jpg,100,2,3,4,100,120,test",
            "the box (100, 2, 3, 4) lies outside its film",
        ),
        ("a,Edema,haze,a.jpg,1,-5,3,4,100,120,test", "outside its film"),
        ("a,Edema,haze,a.jpg,95,2,30,4,100,120,test", "mostly outside its film"),
        ("b,Edema,haze,b.jpg,1,2,3,4,100,121,test", "another size than row 1"),
    ],
)
def test_every_row_that_cannot_be_is_named(tmp_path: Path, line: str, fault: str) -> None:
    path = table(tmp_path, "b,Edema,haze,b.jpg,1,2,3,4,100,120,test", line)
    with pytest.raises(DataError) as caught:
        read_phrases(path)
    assert "row 2: " in str(caught.value)
    assert fault in str(caught.value)


def test_a_box_that_only_reaches_out_of_the_film_is_kept(tmp_path: Path) -> None:
    path = table(tmp_path, "a,Edema,haze,a.jpg,-1,2,30,400,100,120,test")
    assert read_phrases(path)[0].boxes == ((-1.0, 2.0, 30.0, 400.0),)


def test_a_table_without_rows_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds no phrase"):
        read_phrases(table(tmp_path))
